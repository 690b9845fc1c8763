//! The intent: what the journal keeps of an effect before it is performed. Knows no other entry.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Access, Recovery, Undo};

/// An effect that is about to be performed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Its position.
    pub seq: Seq,
    /// Its kind, such as `docker_run`.
    pub kind: String,
    /// What it is about, such as a container's name.
    pub subject: String,
    /// Every option, with defaults; secrets as names.
    pub args: Value,
    /// Whether it changes something.
    pub access: EntryAccess,
    /// What to do when its outcome is unknown.
    pub recovery: EntryRecovery,
    /// How to undo it.
    pub undo: UndoRecord,
    /// The script line that requested it.
    pub site: Option<Site>,
    /// The effect that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Seq>,
}

/// [`Access`] as the journal writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryAccess {
    /// It changes nothing.
    Read,
    /// It changes something.
    Write,
}

impl From<Access> for EntryAccess {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
        }
    }
}

/// [`Recovery`] as the journal writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryRecovery {
    /// Perform it again.
    Repeat,
    /// Look up whether it happened.
    Observe,
    /// Ask the operator.
    Ask,
}

impl From<Recovery> for EntryRecovery {
    fn from(recovery: Recovery) -> Self {
        match recovery {
            Recovery::Repeat => Self::Repeat,
            Recovery::Observe => Self::Observe,
            Recovery::Ask => Self::Ask,
        }
    }
}

/// [`Undo`] as the journal writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoRecord {
    /// There is nothing to undo.
    Nothing,
    /// This effect undoes it.
    Effect {
        /// The kind of the effect.
        kind: String,
        /// Its options.
        args: Value,
    },
    /// It cannot be undone.
    Impossible {
        /// Why not.
        why: String,
    },
}

impl UndoRecord {
    /// Creates the undo of an effect of this run.
    pub fn new(undo: Undo, run: &RunId) -> Self {
        match undo {
            Undo::Nothing => Self::Nothing,
            Undo::Effect(effect) => Self::Effect { kind: effect.kind().into(), args: effect.args() },
            Undo::ImpossibleUnlessOwn { maker: Some(maker), .. } if maker == run.as_str() => Self::Nothing,
            Undo::Impossible(why) | Undo::ImpossibleUnlessOwn { why, .. } => Self::Impossible { why },
        }
    }
}
