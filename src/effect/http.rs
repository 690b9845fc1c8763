//! HTTP requests.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::category::category;
use super::request::request;
use super::{EffectError, ErrorKind, Outcome, Recovery};
use crate::base::byte_size::ByteSize;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// Bytes kept of a reply's body.
pub const BODY_LIMIT: ByteSize = ByteSize(1 << 20);

category! {
    /// Requests over HTTP.
    Http: HttpEffect => HttpOutcome {
        Get(HttpGet),
        Post(HttpPost),
        Load(super::load::LoadTest),
    }
}

/// `http_get`: sends a GET request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpGet {
    /// The address.
    pub url: Text,
    /// Headers to send.
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

request! {
    HttpGet {
        kind: "http_get",
        reply: HttpReply,
        access: Read,
        deadline: timeout,
        subject: url,
    }
}

/// `http_post`: sends a POST request with a text or a JSON body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpPost {
    /// The address.
    pub url: Text,
    /// Headers to send.
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
    /// States that sending it twice does no harm: a resumed run sends it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
}

request! {
    HttpPost {
        kind: "http_post",
        reply: HttpReply,
        access: Write,
        recovery: |post| if post.idempotent { Recovery::Repeat } else { Recovery::Ask },
        deadline: timeout,
        interruptible: true,
        subject: url,
        assumed_outcome: Self::assume_ok,
    }
}

impl HttpPost {
    /// Checks that at most one of `body` and `json` is given.
    ///
    /// # Errors
    /// Fails if both are given.
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.body.is_some() && self.json.is_some() {
            return Err(EffectError::invalid("`body` and `json` cannot both be given"));
        }
        Ok(())
    }

    fn assume_ok(&self) -> Option<Outcome> {
        let (status, headers, body) = (200, BTreeMap::new(), String::new());
        let reply = HttpReply { status, headers, body, truncated: false, json: None, elapsed_ms: 0 };
        Some(Outcome::Http(HttpOutcome::Post(reply)))
    }
}

/// Returns the error for an address that is not a URL.
pub fn url_not_valid(url: &Text, why: &impl fmt::Display) -> EffectError {
    EffectError::invalid(format!("`{url}` is not a URL: {why}")).hint("write it like `http://127.0.0.1:8080/health`")
}

/// Returns the error for a URL of another protocol.
pub fn url_not_http(url: &Text) -> EffectError {
    EffectError::invalid(format!("`{url}` is not a URL that starts with `http://` or `https://`"))
}

/// Returns the error for a reply with a status of 400 or above.
pub fn http_refused(method: &str, url: &Text, status: &impl fmt::Display) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("`{method} {url}` answered {status}"))
}

/// Returns the error for a request without a complete reply in time.
pub fn http_timed_out(method: &str, url: &Text, timeout: DurationText) -> EffectError {
    EffectError::new(ErrorKind::Timeout, format!("`{method} {url}` got no complete answer within {timeout}"))
}

/// Returns the error for a request without a reply.
pub fn http_failed(method: &str, url: &Text, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Unavailable, format!("`{method} {url}` failed: {why}"))
}

/// An HTTP reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// Names in lower case; the values of a repeated header are joined with `, `.
    pub headers: BTreeMap<String, String>,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// Whether the body was longer than 1 MiB and is cut.
    pub truncated: bool,
    /// The body as a value, if it is JSON.
    #[serde(default)]
    pub json: Option<Value>,
    /// How long the exchange took, in milliseconds.
    pub elapsed_ms: u64,
}
