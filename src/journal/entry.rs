//! The entries of a run, each one fact. The same values feed the terminal, the JSON lines and the history, live or read
//! back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::EffectError;

pub use super::intent::{EntryAccess, EntryRecovery, Intent, UndoRecord};
pub use super::run_status::RunStatus;

/// One entry with its number and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run that it belongs to.
    pub run: RunId,
    /// Number of the entry in its run, from 1.
    pub n: u64,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
}

/// One fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The first entry of every run.
    RunStarted {
        /// What the run is.
        header: Box<RunHeader>,
    },
    /// Another process reopened an interrupted run.
    RunReopened {
        /// That process.
        process: Process,
        /// Whether it finishes the run or rolls it back.
        purpose: Purpose,
    },
    /// A script or module was read; its text is stored under the digest.
    SourceLoaded {
        /// The name that it was imported by.
        name: String,
        /// The digest of its text.
        digest: String,
    },
    /// A `step` started. Steps nest.
    StepOpened {
        /// Its position.
        seq: Seq,
        /// Its title.
        title: String,
    },
    /// A `step` ended.
    StepClosed {
        /// The position of its start.
        seq: Seq,
        /// Whether it ended without an error.
        ok: bool,
    },
    /// A `parallel` started; its branches number their entries below `seq`.
    ParallelOpened {
        /// Its position.
        seq: Seq,
        /// How many branches it has.
        branches: u32,
    },
    /// A `parallel` ended.
    ParallelClosed {
        /// The position of its start.
        seq: Seq,
    },
    /// An effect is about to be performed.
    Intended {
        /// The effect and its undo.
        intent: Box<Intent>,
    },
    /// An effect was performed.
    Completed {
        /// Its position.
        seq: Seq,
        /// What the world returned.
        outcome: Value,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// An effect failed.
    Failed {
        /// Its position.
        seq: Seq,
        /// Why.
        error: EffectError,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// A message of the script (`log` or `print`) or of deployer.
    Logged {
        /// `None` when deployer itself logged it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<Seq>,
        /// Its severity.
        level: Level,
        /// The message.
        text: String,
    },
    /// The script registered a closure with `on_rollback`.
    RollbackRegistered {
        /// Its position.
        seq: Seq,
        /// The script line.
        site: Option<Site>,
        /// Makes it a guard: if the closure fails or cannot be called, nothing before it is undone, and this is the
        /// command to type instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        otherwise: Option<String>,
    },
    /// A closure of `on_rollback` was called during the rollback.
    RollbackCalled {
        /// The position of its registration.
        seq: Seq,
    },
    /// A call of a closure of `on_rollback` failed. It is called again, or the run ends stuck.
    RollbackFailed {
        /// The position of its registration.
        seq: Seq,
        /// Why, in one line.
        why: String,
    },
    /// The point of no return: nothing before it is rolled back.
    Committed {
        /// Its position.
        seq: Seq,
    },
    /// The rollback of the run started.
    #[serde(alias = "unwind_started")]
    RollbackStarted {
        /// Why, in one line.
        reason: String,
    },
    /// The last entry of every run that was not interrupted.
    RunEnded {
        /// How it ended.
        end: Box<RunEnd>,
    },
    /// An operator has cleaned up after a stuck run, or has given up an interrupted one.
    RunResolved,
}

impl Entry {
    /// Returns the entry's name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::RunReopened { .. } => "run_reopened",
            Self::SourceLoaded { .. } => "source_loaded",
            Self::StepOpened { .. } => "step_opened",
            Self::StepClosed { .. } => "step_closed",
            Self::ParallelOpened { .. } => "parallel_opened",
            Self::ParallelClosed { .. } => "parallel_closed",
            Self::Intended { .. } => "intended",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Logged { .. } => "logged",
            Self::RollbackRegistered { .. } => "rollback_registered",
            Self::RollbackCalled { .. } => "rollback_called",
            Self::RollbackFailed { .. } => "rollback_failed",
            Self::Committed { .. } => "committed",
            Self::RollbackStarted { .. } => "rollback_started",
            Self::RunEnded { .. } => "run_ended",
            Self::RunResolved => "run_resolved",
        }
    }

    /// Returns its position in the run.
    pub fn seq(&self) -> Option<&Seq> {
        match self {
            Self::StepOpened { seq, .. }
            | Self::StepClosed { seq, .. }
            | Self::ParallelOpened { seq, .. }
            | Self::ParallelClosed { seq }
            | Self::Completed { seq, .. }
            | Self::Failed { seq, .. }
            | Self::RollbackRegistered { seq, .. }
            | Self::RollbackCalled { seq }
            | Self::RollbackFailed { seq, .. }
            | Self::Committed { seq } => Some(seq),
            Self::Intended { intent } => Some(&intent.seq),
            Self::Logged { seq, .. } => seq.as_ref(),
            Self::RunStarted { .. } | Self::RunReopened { .. } | Self::RunEnded { .. } | Self::RunResolved => None,
            Self::SourceLoaded { .. } | Self::RollbackStarted { .. } => None,
        }
    }
}

/// What a run is, fixed at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The script as given: a path or the name of a shipped script.
    pub script: String,
    /// Its digest; the text is in the journal.
    pub digest: String,
    /// The parameters with their defaults; secrets as names.
    pub params: Value,
    /// `docker`, `local` or `sim`.
    pub engine: String,
    /// Where the engine is, such as `unix:///var/run/docker.sock`.
    pub address: String,
    /// What the engine calls itself, whatever its address; empty when that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine_id: String,
    /// Arguments that select the same engine, such as `--engine local`; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine_flags: String,
    /// Arguments that select the same journal, such as `--state /srv/state`; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state_flags: String,
    /// Version of deployer.
    pub version: String,
    /// The working directory of the run, which relative paths start from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The process that executes it.
    #[serde(flatten)]
    pub process: Process,
}

/// The process that executes a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Boot of the machine.
    pub boot_id: String,
    /// Namespace of the process id.
    #[serde(default)]
    pub pid_namespace: String,
    /// Start time of the process, in clock ticks since boot.
    pub process_start: u64,
}

/// Why an interrupted run is reopened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To finish it. A run that was rolling back finishes its rollback.
    Resume,
    /// To roll it back.
    Abort,
}

/// The severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Information.
    Info,
    /// A warning.
    Warn,
    /// An error that did not end the run.
    Error,
    /// Output of the script's `print`.
    Print,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// The final status.
    pub status: RunStatus,
    /// The exit code of the process.
    pub exit_code: u8,
    /// Why it failed, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The full report for a terminal: script line, cause, help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// What could not be rolled back, and the commands to type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<Remaining>,
    /// Whether `commit()` was reached: what came before it stays.
    #[serde(default)]
    pub committed: bool,
    /// The value of the script's last expression, if it has one.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// Labels to find the run by, such as the service that it locked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// One thing that a stuck run left for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// What is left, and why.
    pub what: String,
    /// The exact command, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run's id.
    pub run: RunId,
    /// What it is.
    pub header: RunHeader,
    /// When it started, in milliseconds since 1970, UTC.
    pub started_at_ms: i64,
    /// When it ended; `None` while it runs, or when it was interrupted.
    pub ended_at_ms: Option<i64>,
    /// Its status.
    pub status: RunStatus,
    /// Why it failed, in one line.
    pub error: Option<String>,
}

/// What reporters show: recorded entries, and transient progress.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// An entry of the journal.
    Recorded(Record),
    /// The latest progress of an effect. Not stored.
    Progress {
        /// The run.
        run: RunId,
        /// The position of the effect.
        seq: Seq,
        /// Milliseconds since 1970, UTC.
        at_ms: i64,
        /// What it is doing.
        text: String,
        /// 0 to 1, where it is known.
        fraction: Option<f32>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_name_of_an_entry_is_read_and_the_new_one_written() {
        let alias = "unwind_started";
        let line = |name| {
            let reason = "no answer";
            format!(r#"{{"run":"4fz81kq0xw","n":16,"at_ms":1772366432135,"entry":"{name}","reason":"{reason}"}}"#)
        };
        let record: Record = serde_json::from_str(&line(alias)).unwrap();
        assert_eq!(record.entry, Entry::RollbackStarted { reason: "no answer".into() });
        assert_eq!(serde_json::to_string(&record).unwrap(), line("rollback_started"));
    }
}
