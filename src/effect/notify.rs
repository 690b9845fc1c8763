//! Telling people. A notification that fails never fails a deploy: the failure is in the reply.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::GRACE;
use super::family::family;
use super::{Access, Facts, Recovery, Request};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

family! {
    /// What can be told.
    Notify: NotifyEffect => NotifyOutcome {
        Send(Notify),
    }
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Slack,
    Discord,
    Teams,
    /// Any receiver of JSON.
    Webhook,
    Email,
}

/// What it tells: chooses the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    #[default]
    Message,
    Started,
    Succeeded,
    Failed,
    RolledBack,
    Stuck,
}

/// `notify`: sends a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    pub channel: Channel,
    /// Of the webhook. Needed for all but email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    /// The mail server, `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<String>,
    /// `starttls`, `tls` or `none`. Default `starttls`.
    #[serde(default)]
    pub smtp_security: SmtpSecurity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text>,
    /// The sender's address of a mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The receivers' addresses of a mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    #[serde(default)]
    pub event: NotifyEvent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What was or was to be deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// In place of, or below, the template's sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// More to show, name and value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Default 10 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    #[default]
    Starttls,
    Tls,
    None,
}

fn default_timeout() -> DurationText {
    DurationText::secs(10)
}

impl Facts for Notify {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        let channel = serde_json::to_value(self.channel).ok();
        let event = serde_json::to_value(self.event).ok();
        [channel, event].iter().flatten().filter_map(|value| value.as_str()).collect::<Vec<_>>().join(" ")
    }
}

impl Request for Notify {
    const KIND: &'static str = "notify";
    type Reply = Notified;
}

/// Whether it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    pub delivered: bool,
    #[serde(default)]
    pub error: Option<String>,
}
