//! HTTP requests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::GRACE;
use super::family::family;
use super::{Access, Facts, Outcome, Recovery, Request};
use crate::base::byte_size::ByteSize;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// Bytes of an answer's body that are kept.
pub const BODY_LIMIT: ByteSize = ByteSize(1 << 20);

family! {
    /// What can be asked over HTTP.
    Http: HttpEffect => HttpOutcome {
        Get(HttpGet),
        Post(HttpPost),
        Load(super::load::LoadTest),
    }
}

/// `http_get`: a GET request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpGet {
    pub url: Text,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// Default 30 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
    /// Fails on a status of 400 and above. Default true.
    #[serde(default = "yes")]
    pub check: bool,
}

fn default_timeout() -> DurationText {
    DurationText::secs(30)
}

fn yes() -> bool {
    true
}

impl Facts for HttpGet {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.url.to_string()
    }
}

impl Request for HttpGet {
    const KIND: &'static str = "http_get";
    type Reply = HttpReply;
}

/// `http_post`: a POST request with a text or a JSON body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpPost {
    pub url: Text,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// The body as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    /// The body as a value, sent as `application/json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Default 30 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
    /// Fails on a status of 400 and above. Default true.
    #[serde(default = "yes")]
    pub check: bool,
    /// States that sending it twice does no harm: a run that was killed meanwhile sends it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
}

impl Facts for HttpPost {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        if self.idempotent { Recovery::Repeat } else { Recovery::Ask }
    }

    fn taken_as_done(&self) -> Option<Outcome> {
        let (status, headers, body) = (200, BTreeMap::new(), String::new());
        let reply = HttpReply { status, headers, body, truncated: false, json: None, elapsed_ms: 0 };
        Some(Outcome::Http(HttpOutcome::Post(reply)))
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.url.to_string()
    }
}

impl Request for HttpPost {
    const KIND: &'static str = "http_post";
    type Reply = HttpReply;
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpReply {
    pub status: u16,
    /// Names in lower case; the values of a repeated one are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// As text; bytes that are no UTF-8 are replaced.
    pub body: String,
    /// Whether the body was longer than 1 MiB and is cut.
    pub truncated: bool,
    /// The body as a value when it is JSON.
    #[serde(default)]
    pub json: Option<Value>,
    pub elapsed_ms: u64,
}
