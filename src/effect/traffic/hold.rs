//! `traffic_drain`, `traffic_hold` and `traffic_release`: what lets a target end without cutting a request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::RouteChange;
use super::look::Standing;
use super::targets::named;
use super::{Drained, Released};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Outcome, Recovery, Request, Undo};

/// `traffic_drain`: no new requests to this target; waits until it has none left, and cuts those at the deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainTarget {
    pub service: String,
    #[serde(deserialize_with = "named")]
    pub target: String,
    /// Default 30 s.
    #[serde(default = "default_deadline")]
    pub deadline: DurationText,
    /// Of upgraded streams (WebSocket). Default: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams_deadline: Option<DurationText>,
}

fn default_deadline() -> DurationText {
    DurationText::secs(30)
}

impl RouteChange for DrainTarget {
    fn of(&self) -> &str {
        &self.service
    }

    fn lasts(&self) -> Duration {
        self.streams_deadline.map_or(self.deadline.0, |streams| streams.0.max(self.deadline.0)) + GRACE
    }

    fn taken_back(&self, former: Option<&Standing>) -> Undo {
        super::steer::former_step(former)
    }

    fn about(&self) -> String {
        format!("{}: {}", self.service, self.target)
    }
}

impl Request for DrainTarget {
    const KIND: &'static str = "traffic_drain";
    type Reply = Drained;
}

/// `traffic_hold`: new requests wait until `traffic_release`, for `max_wait` at the most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldTraffic {
    pub service: String,
    /// That many wait; the others are turned away with 503. Default 1000.
    #[serde(default = "default_held")]
    pub max_requests: u64,
    /// After that it ends by itself: those who wait get 503, new ones go on. Default 30 s.
    #[serde(default = "default_deadline")]
    pub max_wait: DurationText,
}

fn default_held() -> u64 {
    1_000
}

impl Facts for HoldTraffic {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        Undo::by(ReleaseTraffic { service: self.service.clone() })
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for HoldTraffic {
    const KIND: &'static str = "traffic_hold";
    type Reply = Standing;
}

/// `traffic_release`: those who wait go on, and new ones too. Nothing happens when nothing is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTraffic {
    pub service: String,
}

impl Facts for ReleaseTraffic {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for ReleaseTraffic {
    const KIND: &'static str = "traffic_release";
    type Reply = Released;
}
