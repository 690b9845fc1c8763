//! Client traffic to the public address, and what it gets, as intervals during which the result does not change. Knows
//! nothing of deploys.
//!
//! Faults: none of its own; it shows the effects of others.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The public address of a service, and which responses count as good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    /// The port on the host.
    pub port: u16,
    /// The path that is requested.
    pub path: String,
    /// Status codes that count as good; 200 to 299 if empty.
    #[serde(default)]
    pub status: Vec<u16>,
}

impl PublicAddress {
    fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) }
    }
}

/// What clients got during an interval. Times are milliseconds of the clock's `steady_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrafficInterval {
    /// Start of the interval.
    pub from_ms: u64,
    /// End of the interval.
    pub to_ms: u64,
    /// What clients got.
    #[serde(rename = "saw")]
    pub result: ClientResult,
}

impl TrafficInterval {
    /// Returns the length of the interval in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.to_ms - self.from_ms
    }
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "saw")]
pub enum ClientResult {
    /// A good response.
    Served {
        /// The image of the container that answered.
        image: String,
    },
    /// A response that is not good.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The image of the container that answered.
        image: String,
    },
    /// The connection was refused.
    Refused,
}

impl ClientResult {
    /// Returns whether the response was good.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Served { .. })
    }
}

impl fmt::Display for ClientResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served { image } => write!(f, "{image} answers"),
            Self::Answered { status, image } => write!(f, "{image} answers {status}"),
            Self::Refused => f.write_str("connections are refused"),
        }
    }
}

/// The number of intervals kept. A run with more has violated its properties long before.
const INTERVAL_LIMIT: usize = 4_096;
/// Shown as the image while requests are held; waiting counts as good.
pub(crate) const HELD: &str = "the next live version";

/// What clients got so far.
#[derive(Clone, Debug)]
pub(crate) struct TrafficProbe {
    pub(crate) address: PublicAddress,
    pub(crate) until_ms: u64,
    pub(crate) intervals: Vec<TrafficInterval>,
    /// When a container with requests in flight was killed, and its name.
    pub(crate) cut_off: Vec<(u64, String)>,
    /// When requests first went to a target that did not answer, and its name.
    pub(crate) first_dead_target: Option<(u64, String)>,
}

impl TrafficProbe {
    pub(crate) fn starting_at(address: PublicAddress, now: u64) -> Self {
        Self { address, until_ms: now, intervals: Vec::new(), cut_off: Vec::new(), first_dead_target: None }
    }

    pub(crate) fn record(&mut self, from_ms: u64, to_ms: u64, answer: Option<(u16, &str)>) {
        let good = answer.is_some_and(|(status, image)| self.address.accepts(status) || image == HELD);
        let is_same = |result: &ClientResult| match (result, answer) {
            (ClientResult::Served { image }, Some((_, of))) => good && image == of,
            (ClientResult::Answered { status, image }, Some((now, of))) => !good && *status == now && image == of,
            (ClientResult::Refused, None) => true,
            _ => false,
        };
        if let Some(last) = self.intervals.last_mut().filter(|last| is_same(&last.result)) {
            last.to_ms = to_ms;
        } else if self.intervals.len() < INTERVAL_LIMIT {
            let result = match answer {
                Some((_, image)) if good => ClientResult::Served { image: image.into() },
                Some((status, image)) => ClientResult::Answered { status, image: image.into() },
                None => ClientResult::Refused,
            };
            self.intervals.push(TrafficInterval { from_ms, to_ms, result });
        }
    }
}
