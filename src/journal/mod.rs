//! The durable log of runs: its entries, the fold that turns them into the state of a run and refuses illegal ones, and
//! the stores. Knows effects, but no script and no world.

mod blob_table;
pub mod crashing_journal;
pub mod divergence;
pub mod entry;
pub mod error;
mod intent;
mod journal_file;
pub mod memory_journal;
mod opening;
mod recorded;
pub mod replay_cursor;
pub mod run_state;
pub mod run_status;
mod schema;
mod spill;
pub mod sqlite_journal;
mod sqlite_prune;

use crate::base::run_id::RunId;
use entry::{Entry, Record, RunSummary};
pub use error::JournalError;

/// A store of entries. Every write can fail, and an effect whose intent cannot be written is not performed.
pub trait Journal: Send + Sync {
    /// Writes one entry with the next number of the run, and returns that number. See [`Journal::append_as`].
    ///
    /// # Errors
    /// When the entry could not be written as durably as requested.
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError> {
        self.append_as(run, None, at_ms, entry, durability)
    }

    /// Writes one entry and returns its number in the run, from 1. Large values are stored whole. With `number`, the
    /// entry is written only if that number is the next one: of two processes that continue a run, one is refused.
    ///
    /// # Errors
    /// When the entry could not be written as durably as requested, and [`JournalError::Overtaken`] when another
    /// process wrote the entry of this number.
    fn append_as(
        &self,
        run: &RunId,
        number: Option<u64>,
        at_ms: i64,
        entry: &Entry,
        durability: Durability,
    ) -> Result<u64, JournalError>;

    /// Stores the text of a script or module under its digest.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError>;

    /// Returns the text stored under a digest.
    ///
    /// # Errors
    /// When it cannot be read.
    fn source(&self, digest: &str) -> Result<Option<String>, JournalError>;

    /// Returns the entries of a run, in order; empty when there is no such run.
    ///
    /// # Errors
    /// When it cannot be read.
    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError>;

    /// Returns the newest runs, in the order in which they started, whatever the clock said; at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError>;

    /// Removes these runs, and the sources that only they refer to. A run that has not ended or is stuck stays.
    ///
    /// # Errors
    /// When they cannot be removed; all of them stay then.
    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError>;
}

/// How safe an entry must be before the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives the end of the process; may be lost in a power failure.
    Process,
    /// Survives a power failure.
    Power,
}
