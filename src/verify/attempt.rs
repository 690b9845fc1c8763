//! An attempt: the faults of one simulated run. Plain data that reproduces the run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::effect::fault::FaultKind;
use crate::gateway::fault::FaultPosition;
use crate::journal::crashing_journal::CrashPoint;
use crate::journal::entry::Purpose;

/// The faults of one run, in order. The first run has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(pub Vec<InjectedFault>);

/// One fault or crash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InjectedFault {
    /// An effect fails.
    Fault {
        /// Which effect.
        #[serde(flatten)]
        position: FaultPosition,
        /// How.
        fault: FaultKind,
    },
    /// The process is killed; then the run is resumed or aborted.
    #[serde(alias = "death")]
    Crash {
        /// Where.
        #[serde(rename = "when")]
        at: CrashPoint,
        /// What happens to the run afterwards.
        then: Purpose,
    },
    /// The last branch of each `parallel` runs first, so that it is ahead of the others when the process is killed.
    LastBranchFirst,
}

impl Attempt {
    /// Creates an attempt with one fault.
    pub fn one(fault: InjectedFault) -> Self {
        Self(vec![fault])
    }

    /// Returns this attempt with one more fault.
    #[must_use]
    pub fn and(&self, fault: InjectedFault) -> Self {
        let mut all = self.0.clone();
        all.push(fault);
        Self(all)
    }

    /// Returns every attempt with one fault less.
    pub fn lesser(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.0.len()).map(|left_out| {
            let kept = self.0.iter().enumerate().filter(|(index, _)| *index != left_out);
            Self(kept.map(|(_, fault)| fault.clone()).collect())
        })
    }

    /// Returns the faults of effects.
    pub fn faults(&self) -> impl Iterator<Item = (&FaultPosition, FaultKind)> {
        self.0.iter().filter_map(|injected| match injected {
            InjectedFault::Fault { position, fault } => Some((position, *fault)),
            InjectedFault::Crash { .. } | InjectedFault::LastBranchFirst => None,
        })
    }

    /// Returns the crash.
    pub fn crash(&self) -> Option<(CrashPoint, Purpose)> {
        self.0.iter().find_map(|injected| match injected {
            InjectedFault::Crash { at, then } => Some((*at, *then)),
            InjectedFault::Fault { .. } | InjectedFault::LastBranchFirst => None,
        })
    }

    /// Returns whether the last branch of each `parallel` runs first.
    pub fn runs_last_branch_first(&self) -> bool {
        self.0.contains(&InjectedFault::LastBranchFirst)
    }

    /// Returns whether the attempt has a fault of this kind.
    pub fn has(&self, kind: FaultKind) -> bool {
        self.faults().any(|(_, fault)| fault == kind)
    }
}

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { position, fault } => {
                write!(f, "`{}` at {} {}", position.kind, position.seq, fault.description())
            }
            Self::LastBranchFirst => f.write_str("the last branch of `parallel` runs first"),
            Self::Crash { at, then } => {
                let (word, n) = match at {
                    CrashPoint::After(n) => ("after", n),
                    CrashPoint::Before(n) => ("before", n),
                };
                let then = match then {
                    Purpose::Resume => "resumed",
                    Purpose::Abort => "aborted",
                };
                write!(f, "killed {word} entry {n}, then {then}")
            }
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no fault");
        }
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}
