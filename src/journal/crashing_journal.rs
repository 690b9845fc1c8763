//! A journal that crashes at one exact entry, for tests and for `verify`. It knows no process: what a crash means beyond
//! the journal is a callback.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Record, RunSummary};
use super::{Durability, Journal, JournalError};
use crate::base::run_id::RunId;

/// Where a process crashes. Entries are counted from the first one that the process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashPoint {
    /// As soon as the entry is written. An effect that it announces has not started.
    After(u64),
    /// Instead of writing the entry. An effect whose outcome it records has happened.
    Before(u64),
}

impl FromStr for CrashPoint {
    type Err = String;

    /// Parses `before:12` or `after:12`.
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid crash point `{text}`: expected `before:12` or `after:12`");
        let (side, number) = text.split_once(':').ok_or_else(invalid)?;
        let number = number.parse().map_err(|_| invalid())?;
        match side {
            "before" => Ok(Self::Before(number)),
            "after" => Ok(Self::After(number)),
            _ => Err(invalid()),
        }
    }
}

/// The crash of one process: where it happens and whether it has happened. Shared by all that stop with the process.
#[derive(Debug, Default)]
pub struct Crash {
    at: Option<CrashPoint>,
    written: AtomicU64,
    happened: AtomicBool,
}

impl Crash {
    /// Creates a crash at this point, or none at all.
    pub fn new(at: Option<CrashPoint>) -> Arc<Self> {
        Arc::new(Self { at, ..Self::default() })
    }

    /// Returns whether the process has crashed.
    pub fn has_happened(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    /// Returns the number of entries that the process wrote or was about to write.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}

/// A journal that refuses everything from its crash point on.
pub struct CrashingJournal {
    inner: Arc<dyn Journal>,
    crash: Arc<Crash>,
    on_crash: fn(),
}

impl CrashingJournal {
    /// Wraps `inner`. `on_crash` is called once, at the crash point.
    pub fn new(inner: Arc<dyn Journal>, crash: Arc<Crash>, on_crash: fn()) -> Self {
        Self { inner, crash, on_crash }
    }

    fn crash(&self) {
        self.crash.happened.store(true, Ordering::Release);
        (self.on_crash)();
    }
}

impl fmt::Debug for CrashingJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashingJournal").field("crash", &self.crash).finish_non_exhaustive()
    }
}

fn crashed() -> JournalError {
    JournalError::Write { why: "the process has crashed".into() }
}

impl Journal for CrashingJournal {
    fn append_as(
        &self,
        run: &RunId,
        number: Option<u64>,
        at_ms: i64,
        entry: &Entry,
        durability: Durability,
    ) -> Result<u64, JournalError> {
        if self.crash.has_happened() {
            return Err(crashed());
        }
        let written = self.crash.written.fetch_add(1, Ordering::AcqRel) + 1;
        if self.crash.at == Some(CrashPoint::Before(written)) {
            self.crash();
            return Err(crashed());
        }
        let n = self.inner.append_as(run, number, at_ms, entry, durability)?;
        if self.crash.at == Some(CrashPoint::After(written)) {
            self.crash();
        }
        Ok(n)
    }

    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError> {
        self.inner.keep_source(digest, text)
    }

    fn source(&self, digest: &str) -> Result<Option<String>, JournalError> {
        self.inner.source(digest)
    }

    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        self.inner.records(run)
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
        self.inner.runs(limit)
    }

    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError> {
        self.inner.remove(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_points_are_parsed() {
        assert_eq!("before:12".parse(), Ok(CrashPoint::Before(12)));
        assert_eq!("after:3".parse(), Ok(CrashPoint::After(3)));
        for invalid in ["", "12", "before", "before:", "after:x", "during:1"] {
            assert!(invalid.parse::<CrashPoint>().is_err(), "{invalid}");
        }
    }
}
