//! `traffic_drain`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::switch::restore_targets;
use super::targets::target_from_any;
use super::{Drained, show_route};
use crate::base::duration_text::DurationText;
use crate::effect::effect_spec::DEADLINE_MARGIN;
use crate::effect::request::request;

/// `traffic_drain`: sends no new requests to a target, waits until it has none left, and cuts those that remain at the
/// deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainTarget {
    /// The service.
    pub service: String,
    /// The target.
    #[serde(deserialize_with = "target_from_any")]
    pub target: String,
    /// Default 30 s.
    #[serde(default = "default_deadline")]
    pub deadline: DurationText,
    /// The deadline of upgraded streams (WebSocket). Default: `deadline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams_deadline: Option<DurationText>,
}

fn default_deadline() -> DurationText {
    DurationText::secs(30)
}

request! {
    DrainTarget {
        kind: "traffic_drain",
        reply: Drained,
        access: Write,
        recovery: Repeat,
        deadline: |drain| drain.longest_wait() + DEADLINE_MARGIN,
        subject: |drain| format!("{}: {}", drain.service, drain.target),
        service: |drain| Some(&drain.service),
        prior: |drain| Some(show_route(&drain.service)),
        undo: |_, prior| restore_targets(prior),
    }
}

impl DrainTarget {
    /// Returns how long the drain may take.
    pub fn longest_wait(&self) -> Duration {
        self.streams_deadline.map_or(self.deadline.0, |streams| streams.0.max(self.deadline.0))
    }
}
