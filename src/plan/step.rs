//! One thing that a run would do. Plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::site::Site;
use crate::journal::entry::{Intent, UndoRecord};

/// A change that a run would make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The title of the `step` that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// `docker_run` ...
    pub kind: String,
    pub subject: String,
    pub args: Value,
    /// The script's line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// After `commit()`: not taken back any more.
    pub committed: bool,
    /// What cannot be taken back, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_good: Option<String>,
    /// Kind of the effect that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

impl Step {
    pub fn new(intent: &Intent, within: Option<String>, committed: bool) -> Self {
        let (for_good, undo) = match &intent.undo {
            UndoRecord::Nothing => (None, None),
            UndoRecord::Effect { kind, .. } => (None, Some(kind.clone())),
            UndoRecord::Impossible { why } => (Some(why.clone()), None),
        };
        Self {
            within,
            kind: intent.kind.clone(),
            subject: intent.subject.clone(),
            args: intent.args.clone(),
            site: intent.site.clone(),
            committed,
            for_good,
            undo,
        }
    }
}
