//! The entries of a run: past participles, each one fact. The same values feed the terminal, the JSON lines and the
//! history, live or read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Access, EffectError, Recovery, Undo};

pub use super::run_status::RunStatus;

/// One entry with its place and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub run: RunId,
    /// Number of the entry in its run, from 1.
    pub n: u64,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    #[serde(flatten)]
    pub entry: Entry,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// First entry of every run.
    RunStarted {
        header: Box<RunHeader>,
    },
    /// Another process goes on with a run that was killed.
    RunReopened {
        process: Process,
        purpose: Purpose,
    },
    /// A script or module was read; its text is kept under the digest.
    SourceLoaded {
        name: String,
        digest: String,
    },
    /// A `step` began. Steps nest.
    StepOpened {
        seq: Seq,
        title: String,
    },
    StepClosed {
        seq: Seq,
        ok: bool,
    },
    /// A `parallel` began; its branches number their entries below `seq`.
    ParallelOpened {
        seq: Seq,
        branches: u32,
    },
    ParallelClosed {
        seq: Seq,
    },
    /// An effect will be performed now.
    Intended {
        intent: Box<Intent>,
    },
    /// It was, and this came back.
    Completed {
        seq: Seq,
        outcome: Value,
        elapsed_ms: u64,
    },
    /// It failed.
    Failed {
        seq: Seq,
        error: EffectError,
        elapsed_ms: u64,
    },
    /// The script said something: `log` or `print`.
    Logged {
        /// None when deployer itself said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<Seq>,
        level: Level,
        text: String,
    },
    /// The script registered a closure by `on_rollback`.
    RollbackRegistered {
        seq: Seq,
        site: Option<Site>,
        /// A guard: what a person types when it cannot be called or fails, in place of all that would take back what
        /// came before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        otherwise: Option<String>,
    },
    /// A closure of `on_rollback` was called while the run was taken back.
    RollbackCalled {
        seq: Seq,
    },
    /// The point of no return: nothing before it is taken back.
    Committed {
        seq: Seq,
    },
    /// The run is being taken back.
    UnwindStarted {
        reason: String,
    },
    /// Last entry of every run that ended by itself.
    RunEnded {
        end: Box<RunEnd>,
    },
    /// A person has done what a stuck run left.
    RunResolved,
}

impl Entry {
    /// The entry's name in the journal.
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
            Self::Committed { .. } => "committed",
            Self::UnwindStarted { .. } => "unwind_started",
            Self::RunEnded { .. } => "run_ended",
            Self::RunResolved => "run_resolved",
        }
    }

    /// Its place in the run.
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
            | Self::Committed { seq } => Some(seq),
            Self::Intended { intent } => Some(&intent.seq),
            Self::Logged { seq, .. } => seq.as_ref(),
            Self::RunStarted { .. } | Self::RunReopened { .. } | Self::RunEnded { .. } | Self::RunResolved => None,
            Self::SourceLoaded { .. } | Self::UnwindStarted { .. } => None,
        }
    }
}

/// What a run is, fixed at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The script as it was asked for: a path or the name of a shipped one.
    pub script: String,
    /// Its digest; the text is in the journal.
    pub digest: String,
    /// The parameters, defaults filled in; secrets as names.
    pub params: Value,
    /// `docker`, `local` or `sim`.
    pub engine: String,
    /// Where the engine is, such as `unix:///var/run/docker.sock`.
    pub address: String,
    /// Arguments that lead another `deployer` to the same engine, such as `--engine local`; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine_flags: String,
    /// Arguments that lead it to the same journal, such as `--state /srv/state`; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state_flags: String,
    /// Version of deployer.
    pub version: String,
    /// The folder that it was started in: what relative paths begin at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(flatten)]
    pub process: Process,
}

/// The process that runs a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub host: String,
    pub pid: u32,
    pub boot_id: String,
    #[serde(default)]
    pub pid_namespace: String,
    pub process_start: u64,
}

/// What a killed run is opened again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To go on; a run that was being taken back goes on being taken back.
    Resume,
    /// To be taken back.
    Abort,
}

/// An effect that is about to be performed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub seq: Seq,
    /// `docker_run` ...
    pub kind: String,
    /// What it is about, in a word or two.
    pub subject: String,
    /// Every option, defaults filled in; secrets as names.
    pub args: Value,
    pub access: EntryAccess,
    pub recovery: EntryRecovery,
    pub undo: UndoRecord,
    /// The script line that asked.
    pub site: Option<Site>,
    /// The effect that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Seq>,
}

/// [`Access`] as the journal writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryAccess {
    Read,
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
    Repeat,
    Observe,
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
    Nothing,
    Effect { kind: String, args: Value },
    Impossible { why: String },
}

impl UndoRecord {
    /// The undo of an effect of the run `run`.
    pub fn new(undo: Undo, run: &RunId) -> Self {
        match undo {
            Undo::Nothing => Self::Nothing,
            Undo::Effect(effect) => Self::Effect { kind: effect.kind().into(), args: effect.args() },
            Undo::ImpossibleUnlessOwn { maker: Some(maker), .. } if maker == run.as_str() => Self::Nothing,
            Undo::Impossible(why) | Undo::ImpossibleUnlessOwn { why, .. } => Self::Impossible { why },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Info,
    Warn,
    Error,
    /// The script's own `print`.
    Print,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    pub status: RunStatus,
    /// What the process exits with.
    pub exit_code: u8,
    /// Why it failed: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The full report for a terminal: place in the script, why, help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// What could not be taken back, and what a person can type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<Remaining>,
    /// Whether `commit()` was reached: what came before it stays.
    #[serde(default)]
    pub committed: bool,
    /// What the script's last expression gave, where it gave something.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// Labels that the run's work can be found by, such as the service it locked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// One thing that a stuck run left for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    pub what: String,
    /// The exact command, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run: RunId,
    pub header: RunHeader,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub status: RunStatus,
    /// One line.
    pub error: Option<String>,
}

/// What faces show: what was recorded, and what only passes by.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    Recorded(Record),
    /// The latest word of an effect that is under way. Not kept.
    Progress {
        run: RunId,
        seq: Seq,
        /// Milliseconds since 1970, UTC.
        at_ms: i64,
        text: String,
        /// 0 to 1, where it is known.
        fraction: Option<f32>,
    },
}
