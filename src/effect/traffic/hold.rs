//! `traffic_hold` and `traffic_release`: requests wait while no version can answer.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use super::{Released, RouteStatus, route_status, show_route};
use crate::base::duration_text::DurationText;
use crate::effect::effect_spec::DEADLINE_MARGIN;
use crate::effect::request::request;
use crate::effect::{Outcome, Undo};

/// How long `traffic_release` waits for a target that answers.
pub const RELEASE_WAIT: Duration = Duration::from_secs(60);

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
    /// After `max_wait`, new requests get 503 until `traffic_release`, instead of passing. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until_released: bool,
}

/// The limits of a hold that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLimits {
    /// The number of requests that may wait.
    pub max_requests: u64,
    /// How long they wait.
    pub max_wait: DurationText,
    /// Whether new requests get 503 after that.
    #[serde(default)]
    pub until_released: bool,
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

/// `traffic_release`: lets waiting and new requests pass, once a target answers its check or after [`RELEASE_WAIT`]. Does
/// nothing if no requests are held.
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
        deadline: |_| RELEASE_WAIT + DEADLINE_MARGIN,
        subject: service,
        service: |release| Some(&release.service),
        prior: |release| Some(show_route(&release.service)),
        undo: Self::undo_from,
    }
}

impl ReleaseTraffic {
    /// Requests wait again while the rest of the run is rolled back.
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let hold = route_status(prior).and_then(|previous| previous.view.hold.clone());
        hold.map_or(Undo::Nothing, |HoldLimits { max_requests, max_wait, until_released }| {
            Undo::by(HoldTraffic { service: self.service.clone(), max_requests, max_wait, until_released })
        })
    }
}
