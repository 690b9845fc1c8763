//! One change in a plan. Plain data.

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
    /// The kind of the effect, such as `docker_run`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Its options.
    pub args: Value,
    /// The script line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// Whether it comes after a `commit()`.
    pub committed: bool,
    /// Why it cannot be undone, if so.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "for_good")] // An alias that programs read.
    pub irreversible: Option<String>,
    /// The kind of the effect that undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

impl Step {
    /// Creates the step of an effect that the script requested.
    pub fn new(intent: &Intent, within: Option<String>, committed: bool) -> Self {
        let (irreversible, undo) = match &intent.undo {
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
            irreversible,
            undo,
        }
    }
}
