//! Time is asked for like anything else, so that a replay sees the same instants.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::GRACE;
use super::family::family;
use super::{Access, Facts, Request};
use crate::base::duration_text::DurationText;

family! {
    /// What can be asked of time.
    Time: TimeEffect => TimeOutcome {
        Sleep(Sleep),
        Now(Now),
    }
}

/// `sleep`: waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sleep {
    pub duration: DurationText,
}

impl Facts for Sleep {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.duration.0 + GRACE
    }

    fn subject(&self) -> String {
        self.duration.to_string()
    }
}

impl Request for Sleep {
    const KIND: &'static str = "sleep";
    type Reply = ();
}

/// `now`: the instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {}

impl Facts for Now {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        String::new()
    }
}

impl Request for Now {
    const KIND: &'static str = "now";
    type Reply = Instant;
}

/// An instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// Milliseconds since 1970, UTC.
    pub unix_ms: i64,
    /// RFC 3339, UTC.
    pub text: String,
}
