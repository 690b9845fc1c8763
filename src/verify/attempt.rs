//! An attempt: what goes wrong in one simulated run. Plain data, which brings the same run about again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::effect::fault::FaultKind;
use crate::gateway::fault::Place;
use crate::journal::entry::Purpose;

/// Everything that goes wrong in one run; nothing in the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(pub Vec<Mishap>);

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mishap {
    Fault {
        #[serde(flatten)]
        place: Place,
        fault: FaultKind,
    },
    /// The process is killed; then somebody goes on with the run, or takes it back.
    Death { when: When, then: Purpose },
}

/// When a process is killed. Entries are counted from the first that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// As soon as the entry is written: an effect that it announces is not begun.
    After(u64),
    /// Instead of writing the entry: an effect whose outcome it is has happened.
    Before(u64),
}

impl Attempt {
    pub fn one(mishap: Mishap) -> Self {
        Self(vec![mishap])
    }

    /// This and one more.
    #[must_use]
    pub fn and(&self, mishap: Mishap) -> Self {
        let mut all = self.0.clone();
        all.push(mishap);
        Self(all)
    }

    /// Every attempt with one mishap less.
    pub fn lesser(&self) -> impl Iterator<Item = Self> + '_ {
        (0..self.0.len()).map(|left_out| {
            let kept = self.0.iter().enumerate().filter(|(place, _)| *place != left_out);
            Self(kept.map(|(_, mishap)| mishap.clone()).collect())
        })
    }

    pub fn faults(&self) -> impl Iterator<Item = (&Place, FaultKind)> {
        self.0.iter().filter_map(|mishap| match mishap {
            Mishap::Fault { place, fault } => Some((place, *fault)),
            Mishap::Death { .. } => None,
        })
    }

    pub fn death(&self) -> Option<(When, Purpose)> {
        self.0.iter().find_map(|mishap| match mishap {
            Mishap::Death { when, then } => Some((*when, *then)),
            Mishap::Fault { .. } => None,
        })
    }

    pub fn has(&self, wanted: FaultKind) -> bool {
        self.faults().any(|(_, fault)| fault == wanted)
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { place, fault } => write!(f, "`{}` at {} {}", place.kind, place.seq, fault.words()),
            Self::Death { when, then } => {
                let (word, n) = match when {
                    When::After(n) => ("after", n),
                    When::Before(n) => ("before", n),
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
            return f.write_str("nothing goes wrong");
        }
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}
