//! Load: requests at a constant rate, and what became of them. Plain data; knows nothing of sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::GRACE;
use super::traffic::Latency;
use super::{Access, EffectError, ErrorKind, Facts, Recovery, Request};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// Requests a second.
pub const RATE_MAX: f64 = 10_000.0;
/// Requests that are under way at a time.
pub const CONNECTIONS_MAX: u32 = 1_000;
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// `load_test`: sends requests at a constant rate, whether or not the answers keep up (an open loop).
///
/// The instant of every request is fixed in advance. One that cannot be sent then, since all connections wait for
/// answers, is sent late, and its latency counts from the instant it was meant for: a server that stalls is seen with
/// everything that it kept waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadTest {
    pub url: Text,
    /// Default `GET`.
    #[serde(default = "default_method")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    /// Requests a second. Default 10, at most [`RATE_MAX`].
    #[serde(default = "default_rate")]
    pub rate: f64,
    /// Default 10 s, at most [`DURATION_MAX`].
    #[serde(default = "default_duration")]
    pub duration: DurationText,
    /// Requests that may be under way at a time. Default 32, at most [`CONNECTIONS_MAX`].
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// Keeps connections open from one request to the next. Default true.
    #[serde(default = "yes")]
    pub keep_alive: bool,
    /// Of one request, from its sending. Default 10 s, at most [`TIMEOUT_MAX`].
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
    /// Status codes that are expected. Default: all below 400.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
}

fn default_method() -> String {
    "GET".into()
}

fn default_rate() -> f64 {
    10.0
}

fn default_duration() -> DurationText {
    DurationText::secs(10)
}

fn default_connections() -> u32 {
    32
}

fn yes() -> bool {
    true
}

fn default_timeout() -> DurationText {
    DurationText::secs(10)
}

impl LoadTest {
    /// How many requests that makes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] beyond the bounds.
    pub fn planned(&self) -> Result<u64, EffectError> {
        let invalid = |why: String| EffectError::new(ErrorKind::Invalid, why).not_applied();
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            return Err(invalid(format!("`rate` is more than 0 and at most {RATE_MAX} requests a second")));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(invalid(format!("`connections` is a number from 1 to {CONNECTIONS_MAX}")));
        }
        for (name, value, most) in [("duration", self.duration, DURATION_MAX), ("timeout", self.timeout, TIMEOUT_MAX)] {
            if value.0.is_zero() || value.0 > most {
                return Err(invalid(format!("`{name}` is more than 0 and at most {}", DurationText(most))));
            }
        }
        Ok(((self.rate * self.duration.0.as_secs_f64()).round() as u64).max(1))
    }

    /// Whether an answer with this status is as it should be.
    pub fn expects(&self, status: u16) -> bool {
        if self.status.is_empty() { status < 400 } else { self.status.contains(&status) }
    }

    fn only_reads(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&self.method.to_ascii_uppercase().as_str())
    }
}

impl Facts for LoadTest {
    fn access(&self) -> Access {
        if self.only_reads() { Access::Read } else { Access::Write }
    }

    /// Whoever has a request sent thousands of times has said that once more does no harm.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.duration.0 + 2 * self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.url.to_string()
    }
}

impl Request for LoadTest {
    const KIND: &'static str = "load_test";
    type Reply = LoadReport;
}

/// What became of the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    pub planned: u64,
    pub sent: u64,
    /// Answered to the end, with any status.
    pub answered: u64,
    /// Not answered, or with a status that was not expected.
    pub failed: u64,
    /// Failed of planned, 0 to 1.
    pub error_rate: f64,
    pub errors: LoadErrors,
    /// Answers with a status that was not expected.
    pub unexpected: u64,
    /// Answers by class: `2xx`, `5xx`.
    pub statuses: BTreeMap<String, u64>,
    /// From the instant that a request was meant for to the last byte of its answer, or until it was given up.
    pub latency: Latency,
    /// Answers a second.
    pub rate: f64,
    pub elapsed_ms: u64,
    /// Requests that were sent late, since all connections waited for answers.
    pub late: u64,
    /// How late requests were sent though a connection was free: the fault of this machine, not of the server.
    pub lag_p99_ms: f64,
    /// Whether this machine did not keep up: the latencies tell of it too then.
    pub fell_behind: bool,
}

/// Requests that got no whole answer, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadErrors {
    /// No connection.
    pub connect: u64,
    /// No whole answer in time.
    pub timeout: u64,
    /// The connection broke.
    pub broken: u64,
    /// All connections were waiting, from the instant it was meant for until the test was over.
    pub unsent: u64,
}

impl LoadErrors {
    pub fn sum(&self) -> u64 {
        self.connect + self.timeout + self.broken + self.unsent
    }
}
