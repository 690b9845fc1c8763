//! The journal of one run as it is being written: folds, scrubs, stores, and tells the faces.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::redact::scrub_entry;
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
    /// [`RunState::unwinding`], to be asked at every step of a script.
    unwinding: AtomicBool,
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
        Self { run, journal, state: Mutex::default(), unwinding: AtomicBool::new(false), clock, vault, listener }
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
        self.unwinding = AtomicBool::new(state.unwinding);
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
    /// When it is not legal here, or not on disk; the state is as before then.
    pub fn record(&self, entry: Entry, durability: Durability) -> Result<(), JournalError> {
        let mut state = self.state();
        state.check(&entry)?;
        let at_ms = self.clock.unix_ms();
        let clean = scrub_entry(&self.vault, &entry);
        let n = self.journal.append(&self.run, at_ms, &clean, durability)?;
        // The state keeps the values as they are: an undo must name what it takes back, whatever looks like a secret.
        state.apply(&entry)?;
        self.unwinding.store(state.unwinding, Ordering::Release);
        (self.listener)(&RunEvent::Recorded(Record { run: self.run.clone(), n, at_ms, entry: clean }));
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
    pub fn tell_unwritten(&self, entry: &Entry) {
        let at_ms = self.clock.unix_ms();
        let entry = scrub_entry(&self.vault, entry);
        (self.listener)(&RunEvent::Recorded(Record { run: self.run.clone(), n: 0, at_ms, entry }));
    }

    /// The run so far.
    pub fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the run is being taken back; does not wait for an entry that is being written.
    pub fn unwinding(&self) -> bool {
        self.unwinding.load(Ordering::Acquire)
    }
}

impl From<JournalError> for EffectError {
    fn from(error: JournalError) -> Self {
        let message = error.to_string();
        match error {
            JournalError::TooLarge { .. } | JournalError::RunTooLarge { .. } => Self::new(ErrorKind::Invalid, message),
            JournalError::Illegal { .. } => Self::new(ErrorKind::Internal, message),
            JournalError::Busy { .. } => Self::new(ErrorKind::Journal, message)
                .hint("see who holds `journal.db` in the state folder (`fuser` tells), end it, then try again"),
            JournalError::Damaged { .. } | JournalError::Read { .. } => Self::new(ErrorKind::Journal, message)
                .hint("restore `journal.db` from a backup or move it away; then look for what this run left behind"),
            _ => Self::new(ErrorKind::Journal, message)
                .hint("make room on the disk of the state folder, or use another one with `--state DIR`"),
        }
        .not_applied()
    }
}
