//! A journal in memory, for tests, plans and simulated runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::entry::{Entry, Record, RunStatus, RunSummary};
use super::{Durability, Journal, JournalError};
use crate::base::run_id::RunId;

/// Entries in memory. Can simulate a full disk.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    runs: BTreeMap<RunId, Vec<Record>>,
    /// In the order in which they started.
    started: Vec<RunId>,
    sources: BTreeMap<String, String>,
    /// How many entries still fit; `None` is no limit.
    room: Option<u64>,
}

impl MemoryJournal {
    /// Accepts `entries` more entries and then fails, as a full disk does.
    pub fn fill_up_after(&self, entries: u64) {
        self.lock().room = Some(entries);
    }

    /// Takes every entry of a run out of the journal.
    pub fn take(&self, run: &RunId) -> Vec<Record> {
        self.lock().runs.get_mut(run).map(std::mem::take).unwrap_or_default()
    }

    /// Returns the newest entry of a run.
    pub fn last(&self, run: &RunId) -> Option<Entry> {
        Some(self.lock().runs.get(run)?.last()?.entry.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append_as(
        &self,
        run: &RunId,
        number: Option<u64>,
        at_ms: i64,
        entry: &Entry,
        _: Durability,
    ) -> Result<u64, JournalError> {
        let mut inner = self.lock();
        let n = inner.runs.get(run).map_or(0, Vec::len) as u64 + 1;
        if number.is_some_and(|number| number != n) {
            return Err(JournalError::Overtaken { run: run.clone() });
        }
        match inner.room.as_mut() {
            Some(0) => return Err(JournalError::Write { why: "no space left on device".into() }),
            Some(room) => *room -= 1,
            None => {}
        }
        if !inner.runs.contains_key(run) {
            inner.started.push(run.clone());
        }
        let records = inner.runs.entry(run.clone()).or_default();
        records.push(Record { run: run.clone(), n, at_ms, entry: entry.clone() });
        Ok(n)
    }

    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError> {
        self.lock().sources.insert(digest.into(), text.into());
        Ok(())
    }

    fn source(&self, digest: &str) -> Result<Option<String>, JournalError> {
        Ok(self.lock().sources.get(digest).cloned())
    }

    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        Ok(self.lock().runs.get(run).cloned().unwrap_or_default())
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
        let inner = self.lock();
        let newest = inner.started.iter().rev().filter_map(|run| summary(inner.runs.get(run)?));
        Ok(newest.take(limit).collect())
    }

    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let is_over = |records: &Vec<Record>| {
            summary(records).is_some_and(|run| !matches!(run.status, RunStatus::Running | RunStatus::Stuck))
        };
        inner.runs.retain(|run, records| !(runs.contains(run) && is_over(records)));
        let used: BTreeSet<String> = inner.runs.values().flatten().filter_map(|record| digest(&record.entry)).collect();
        inner.sources.retain(|digest, _| used.contains(digest));
        Ok(())
    }
}

/// Returns the digest of the source that an entry refers to.
fn digest(entry: &Entry) -> Option<String> {
    match entry {
        Entry::RunStarted { header } => Some(header.digest.clone()),
        Entry::SourceLoaded { digest, .. } => Some(digest.clone()),
        _ => None,
    }
}

fn summary(records: &[Record]) -> Option<RunSummary> {
    let first = records.first()?;
    let Entry::RunStarted { header } = &first.entry else { return None };
    let mut header = header.as_ref().clone();
    let mut ended = None;
    let mut resolved = false;
    for record in records {
        match &record.entry {
            Entry::RunReopened { process, .. } => header.process = process.clone(),
            Entry::RunEnded { end } => ended = Some((record.at_ms, end)),
            Entry::RunResolved => resolved = true,
            _ => {}
        }
    }
    let status = ended.map_or(RunStatus::Running, |(_, end)| end.status);
    Some(RunSummary {
        run: first.run.clone(),
        header,
        started_at_ms: first.at_ms,
        ended_at_ms: ended.map(|(at_ms, _)| at_ms),
        status: if resolved { RunStatus::Resolved } else { status },
        error: ended.and_then(|(_, end)| end.error.clone()),
    })
}
