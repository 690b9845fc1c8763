//! Time is requested like anything else, so that a replay sees the same instants.

use serde::{Deserialize, Serialize};

use super::category::category;
use super::request::request;
use crate::base::duration_text::DurationText;

category! {
    /// Actions with time.
    Time: TimeEffect => TimeOutcome {
        Sleep(Sleep),
        Now(Now),
    }
}

/// `sleep`: waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sleep {
    /// How long.
    pub duration: DurationText,
}

request! {
    Sleep {
        kind: "sleep",
        reply: (),
        access: Read,
        deadline: duration,
        subject: duration,
    }
}

/// `now`: reads the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {}

request! {
    Now {
        kind: "now",
        reply: Instant,
        access: Read,
        subject: |_| String::new(),
    }
}

/// An instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// Milliseconds since 1970, UTC.
    pub unix_ms: i64,
    /// RFC 3339, UTC.
    pub text: String,
}
