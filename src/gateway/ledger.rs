//! The journal of one run as it is being written: folds, scrubs, stores, and tells the faces.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::redact::scrub_value;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::vault::Vault;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Entry, Record, RunEvent};
use crate::journal::run_state::RunState;
use crate::journal::{Durability, Journal, JournalError};
use crate::world::Progress;
use crate::world::clock::Clock;

/// Takes every event of a run, in order.
pub type Listener = Arc<dyn Fn(&RunEvent) + Send + Sync>;

pub struct Ledger {
    run: RunId,
    journal: Arc<dyn Journal>,
    state: Mutex<RunState>,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    listener: Listener,
}

impl Ledger {
    pub fn new(
        run: RunId,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        listener: Listener,
    ) -> Self {
        Self { run, journal, state: Mutex::default(), clock, vault, listener }
    }

    /// Takes up a run that is in the journal already.
    ///
    /// # Errors
    /// When its entries cannot be read or do not make a legal run.
    pub fn reopen(mut self) -> Result<Self, JournalError> {
        let mut state = RunState::default();
        for record in self.journal.records(&self.run)? {
            state.apply(&record.entry)?;
        }
        self.state = Mutex::new(state);
        Ok(self)
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Writes one entry down, then tells it. Order of entries is order of calls.
    ///
    /// # Errors
    /// When it is not legal here, or not on disk.
    pub fn record(&self, entry: Entry, durability: Durability) -> Result<(), JournalError> {
        let entry = self.scrubbed(entry)?;
        let mut state = self.state();
        state.apply(&entry)?;
        let at_ms = self.clock.unix_ms();
        let n = self.journal.append(&self.run, at_ms, &entry, durability)?;
        (self.listener)(&RunEvent::Recorded(Record { run: self.run.clone(), n, at_ms, entry }));
        Ok(())
    }

    /// Passes on what an effect tells of itself; not kept.
    pub fn tell(&self, seq: &Seq, progress: Progress) {
        (self.listener)(&RunEvent::Progress {
            run: self.run.clone(),
            seq: seq.clone(),
            at_ms: self.clock.unix_ms(),
            text: self.vault.scrub(&progress.text),
            fraction: progress.fraction,
        });
    }

    /// Tells the faces of an entry that could not be written: people must see how it ended all the same.
    pub fn tell_unwritten(&self, entry: Entry) {
        let at_ms = self.clock.unix_ms();
        (self.listener)(&RunEvent::Recorded(Record { run: self.run.clone(), n: 0, at_ms, entry }));
    }

    /// The run so far.
    pub fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scrubbed(&self, entry: Entry) -> Result<Entry, JournalError> {
        if self.vault.is_unused() {
            return Ok(entry);
        }
        let unreadable = |error: serde_json::Error| JournalError::Write { why: error.to_string() };
        let mut value: Value = serde_json::to_value(&entry).map_err(unreadable)?;
        if scrub_value(&self.vault, &mut value) { serde_json::from_value(value).map_err(unreadable) } else { Ok(entry) }
    }
}

impl From<JournalError> for EffectError {
    fn from(error: JournalError) -> Self {
        Self::new(ErrorKind::Journal, error.to_string())
            .hint("make room on the disk of the state folder, or use another one with `--state DIR`")
            .not_applied()
    }
}
