//! A journal that stops its process at one exact entry, so that tests can kill it there. Knows no process: it calls what
//! it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Entry, Record, RunSummary};
use super::{Durability, Journal, JournalError};
use crate::base::run_id::RunId;

/// Where the process is stopped. Entries are counted from the first that this process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltAt {
    /// Before the entry is written: an effect whose outcome it is has happened.
    Before(u64),
    /// As soon as it is written: an effect that it announces has not begun.
    After(u64),
}

impl std::str::FromStr for HaltAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no place to halt: write `before:12` or `after:12`");
        let (when, number) = text.split_once(':').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        match when {
            "before" => Ok(Self::Before(number)),
            "after" => Ok(Self::After(number)),
            _ => Err(wrong()),
        }
    }
}

pub struct HaltingJournal {
    inner: Arc<dyn Journal>,
    at: HaltAt,
    halt: fn(),
    written: AtomicU64,
}

impl HaltingJournal {
    pub fn new(inner: Arc<dyn Journal>, at: HaltAt, halt: fn()) -> Self {
        Self { inner, at, halt, written: AtomicU64::new(0) }
    }
}

impl Journal for HaltingJournal {
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError> {
        let number = self.written.fetch_add(1, Ordering::AcqRel) + 1;
        if self.at == HaltAt::Before(number) {
            (self.halt)();
        }
        let n = self.inner.append(run, at_ms, entry, durability)?;
        if self.at == HaltAt::After(number) {
            (self.halt)();
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
