//! What happened: the entries of a run, the fold that turns them into its state and refuses illegal ones,
//! and the stores that keep them. Knows effects; knows no script and no world.

mod blob_table;
pub mod entry;
pub mod error;
pub mod halting_journal;
mod journal_file;
pub mod memory_journal;
mod opening;
pub mod past;
pub mod run_state;
pub mod run_status;
mod schema;
mod spill;
pub mod sqlite_journal;
mod sqlite_prune;

use crate::base::run_id::RunId;
use entry::{Entry, Record, RunSummary};
pub use error::JournalError;

/// Where entries are kept. Every write can fail, and nothing is done that could not be written first.
pub trait Journal: Send + Sync {
    /// Writes one entry; returns its number in the run, from 1. However large its values are, they come back whole.
    ///
    /// # Errors
    /// When the entry is not on disk as durably as asked.
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError>;

    /// Keeps the text of a script or module under its digest.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError>;

    /// The text under a digest.
    ///
    /// # Errors
    /// When it cannot be read.
    fn source(&self, digest: &str) -> Result<Option<String>, JournalError>;

    /// Everything that happened in a run, in order; empty when there is no such run.
    ///
    /// # Errors
    /// When it cannot be read.
    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError>;

    /// The latest begun runs first, whatever the clock said then; `limit` at the most.
    ///
    /// # Errors
    /// When they cannot be read.
    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError>;

    /// Removes these runs, and the sources that only they refer to. One that has not ended, or is stuck, stays.
    ///
    /// # Errors
    /// When they cannot be removed; then none is.
    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError>;
}

/// How safe an entry must be before the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives the death of the process; a power cut may take it.
    Process,
    /// On disk: survives a power cut.
    Power,
}
