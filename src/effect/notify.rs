//! Notifications. A notification that fails never fails a deploy: the failure is in the reply.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::EffectError;
use super::category::category;
use super::request::request;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

category! {
    /// Notifications.
    Notify: NotifyEffect => NotifyOutcome {
        Send(Notify),
    }
}

/// Where a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A Slack incoming webhook.
    Slack,
    /// A Discord webhook.
    Discord,
    /// A Microsoft Teams webhook.
    Teams,
    /// Any receiver of JSON.
    Webhook,
    /// Email over SMTP.
    Email,
}

/// What a notification is about; selects the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// Only the message.
    #[default]
    Message,
    /// A deploy started.
    Started,
    /// A deploy succeeded.
    Succeeded,
    /// A deploy failed.
    Failed,
    /// A deploy was rolled back.
    RolledBack,
    /// A deploy could not be rolled back.
    Stuck,
}

/// `notify`: sends a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    /// Where to send it.
    pub channel: Channel,
    /// The webhook's address. Required for all channels but email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    /// The mail server, `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<String>,
    /// How the connection to the mail server is encrypted. Default `starttls`.
    #[serde(default)]
    pub smtp_security: SmtpSecurity,
    /// The user name for the mail server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Text>,
    /// The password for the mail server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Text>,
    /// The sender's mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The recipients' mail addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// What it is about. Default `message`.
    #[serde(default)]
    pub event: NotifyEvent,
    /// The service that is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The release that is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Text instead of, or below, the template's sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Further names and values to show.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Default 10 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// Starts in plain text and switches to TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}

fn default_timeout() -> DurationText {
    DurationText::secs(10)
}

request! {
    Notify {
        kind: "notify",
        reply: Notified,
        access: Write,
        recovery: Repeat,
        deadline: timeout,
        interruptible: true,
        subject: Self::channel_and_event,
    }
}

impl Notify {
    /// Returns the URL of the webhook.
    ///
    /// # Errors
    /// Fails if it is not given.
    pub fn required_url(&self) -> Result<&Text, EffectError> {
        self.url.as_ref().ok_or_else(|| EffectError::invalid("set `url` to the URL of the webhook"))
    }

    /// Returns the mail server.
    ///
    /// # Errors
    /// Fails if it is not given.
    pub fn required_smtp(&self) -> Result<&str, EffectError> {
        self.smtp.as_deref().ok_or_else(|| EffectError::invalid("email needs `smtp` (`HOST:PORT`)"))
    }

    /// Returns the sender of the mail.
    ///
    /// # Errors
    /// Fails if it is not given.
    pub fn required_from(&self) -> Result<&str, EffectError> {
        self.from.as_deref().ok_or_else(|| EffectError::invalid("email needs `from`"))
    }

    /// Returns the recipients of the mail.
    ///
    /// # Errors
    /// Fails if there are none.
    pub fn required_to(&self) -> Result<&[String], EffectError> {
        if self.to.is_empty() { Err(EffectError::invalid("email needs `to`")) } else { Ok(&self.to) }
    }

    /// Checks that the channel has its address.
    ///
    /// # Errors
    /// Fails if an option is missing.
    pub fn validate(&self) -> Result<(), EffectError> {
        match self.channel {
            Channel::Email => {
                self.required_smtp()?;
                self.required_from()?;
                self.required_to().map(drop)
            }
            _ => self.required_url().map(drop),
        }
    }

    fn channel_and_event(&self) -> String {
        let channel = serde_json::to_value(self.channel).ok();
        let event = serde_json::to_value(self.event).ok();
        [channel, event].iter().flatten().filter_map(|value| value.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// Whether a notification was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// Whether the channel accepted it.
    pub delivered: bool,
    /// Why not.
    #[serde(default)]
    pub error: Option<String>,
}
