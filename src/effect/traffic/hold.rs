//! `traffic_hold` and `traffic_release`: requests wait while no version can answer.

use serde::{Deserialize, Serialize};

use super::{Released, RouteStatus};
use crate::base::duration_text::DurationText;
use crate::effect::Undo;
use crate::effect::request::request;

/// `traffic_hold`: makes new requests wait until `traffic_release`, for at most `max_wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldTraffic {
    /// The service.
    pub service: String,
    /// The number of requests that may wait; others are refused with 503. Default 1000.
    #[serde(default = "default_max_requests")]
    pub max_requests: u64,
    /// After that the hold ends by itself: waiting requests get 503, new ones pass. Default 30 s.
    #[serde(default = "default_max_wait")]
    pub max_wait: DurationText,
}

fn default_max_requests() -> u64 {
    1_000
}

fn default_max_wait() -> DurationText {
    DurationText::secs(30)
}

request! {
    HoldTraffic {
        kind: "traffic_hold",
        reply: RouteStatus,
        access: Write,
        recovery: Repeat,
        subject: service,
        service: |hold| Some(&hold.service),
        undo: |hold, _| Undo::by(ReleaseTraffic { service: hold.service.clone() }),
    }
}

/// `traffic_release`: lets waiting and new requests pass. Does nothing if no requests are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTraffic {
    /// The service.
    pub service: String,
}

request! {
    ReleaseTraffic {
        kind: "traffic_release",
        reply: Released,
        access: Write,
        recovery: Repeat,
        subject: service,
        service: |release| Some(&release.service),
    }
}
