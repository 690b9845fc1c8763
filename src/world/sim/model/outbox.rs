//! Notifications that were sent.

use serde::{Deserialize, Serialize};

use crate::effect::notify::Notify;

/// Sent notifications, and whether sending works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// The error, if nothing can be delivered.
    pub fails: Option<String>,
    /// Delivered notifications, oldest first.
    pub sent: Vec<Notify>,
}
