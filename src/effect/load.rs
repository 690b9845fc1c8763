//! Load tests: requests at a constant rate, and their results. Plain data; knows nothing of sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect_spec::DEADLINE_MARGIN;
use super::request::request;
use super::traffic::Latency;
use super::{Access, EffectError};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// The highest rate, in requests per second.
pub const RATE_MAX: f64 = 10_000.0;
/// The highest number of requests in flight.
pub const CONNECTIONS_MAX: u32 = 1_000;
/// The longest test.
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// The longest timeout of one request.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// `load_test`: sends requests at a constant rate, whether or not the answers keep up (an open loop).
///
/// Every request has a planned time. A request that cannot be sent then, because all connections wait for answers, is
/// sent late, and its latency counts from the planned time. The result therefore includes the time that a stalled
/// server kept requests waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadTest {
    /// The address.
    pub url: Text,
    /// Default `GET`.
    #[serde(default = "default_method")]
    pub method: String,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// The body to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    /// Requests per second. Default 10, at most [`RATE_MAX`].
    #[serde(default = "default_rate")]
    pub rate: f64,
    /// Default 10 s, at most [`DURATION_MAX`].
    #[serde(default = "default_duration")]
    pub duration: DurationText,
    /// Requests in flight at a time. Default 32, at most [`CONNECTIONS_MAX`].
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// Reuses connections. Default true.
    #[serde(default = "yes")]
    pub keep_alive: bool,
    /// The timeout of one request, from when it is sent. Default 10 s, at most [`TIMEOUT_MAX`].
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
    /// Checks the options and returns the number of requests.
    ///
    /// # Errors
    /// Fails if an option exceeds its limit.
    pub fn planned(&self) -> Result<u64, EffectError> {
        let invalid = |why: String| EffectError::invalid(why);
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            return Err(invalid(format!("`rate` is more than 0 and at most {RATE_MAX} requests per second")));
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

    /// Returns whether an answer with this status is expected.
    pub fn expects(&self, status: u16) -> bool {
        if self.status.is_empty() { status < 400 } else { self.status.contains(&status) }
    }

    fn only_reads(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&self.method.to_ascii_uppercase().as_str())
    }
}

request! {
    LoadTest {
        kind: "load_test",
        reply: LoadReport,
        access: |request| if request.only_reads() { Access::Read } else { Access::Write },
        // A request that is sent thousands of times can be sent once more.
        recovery: Repeat,
        deadline: |request| request.duration.0 + 2 * request.timeout.0 + DEADLINE_MARGIN,
        interruptible: true,
        subject: url,
    }
}

/// The results of a load test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Requests that were planned.
    pub planned: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests with a complete answer, of any status.
    pub answered: u64,
    /// Requests without a complete answer, or with an unexpected status.
    pub failed: u64,
    /// `failed` divided by `planned`, from 0 to 1.
    pub error_rate: f64,
    /// Requests without a complete answer, by reason.
    pub errors: LoadErrors,
    /// Answers with an unexpected status.
    pub unexpected: u64,
    /// Answers by class: `2xx`, `5xx`.
    pub statuses: BTreeMap<String, u64>,
    /// From the planned time of a request to the last byte of its answer, or until it was given up.
    pub latency: Latency,
    /// Answers per second.
    pub rate: f64,
    /// How long the test took, in milliseconds.
    pub elapsed_ms: u64,
    /// Requests that were sent late because all connections waited for answers.
    pub late: u64,
    /// How late requests were sent although a connection was free. This machine causes it, not the server.
    pub lag_p99_ms: f64,
    /// Whether this machine could not keep up. The latencies then include its own delays.
    pub fell_behind: bool,
}

/// Requests without a complete answer, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadErrors {
    /// The connection could not be opened.
    pub connect: u64,
    /// No complete answer in time.
    pub timeout: u64,
    /// The connection broke.
    pub broken: u64,
    /// Never sent: all connections were busy from its planned time until the end of the test.
    pub unsent: u64,
}

impl LoadErrors {
    /// Returns the number of these requests.
    pub fn sum(&self) -> u64 {
        self.connect + self.timeout + self.broken + self.unsent
    }
}
