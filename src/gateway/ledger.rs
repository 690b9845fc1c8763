//! The journal of one run while it is written: checks each entry, scrubs it, stores it, and passes it to the reporters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::redact::scrub_entry;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::vault::Vault;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Entry, Record, RunEvent};
use crate::journal::replay_cursor::{FrameReplay, ReplayCursor, interrupted_here};
use crate::journal::run_state::RunState;
use crate::journal::{Durability, Journal, JournalError};
use crate::world::Progress;
use crate::world::clock::Clock;

/// Receives every event of a run, in order.
pub type Listener = Arc<dyn Fn(&RunEvent) + Send + Sync>;

/// Writes the entries of one run and keeps its state.
pub struct Ledger {
    run: RunId,
    journal: Arc<dyn Journal>,
    state: Mutex<RunState>,
    /// A copy of [`RunState::rolling_back`], read at every operation of a script.
    rolling_back: AtomicBool,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    listener: Listener,
    /// Number of the last entry.
    last: AtomicU64,
    /// What the script is replayed from.
    replay_cursor: RwLock<Option<Arc<ReplayCursor>>>,
    /// What the closure of `on_rollback` that is being called is replayed from.
    closure_cursor: RwLock<Option<Arc<ReplayCursor>>>,
    /// The entries of closures that were not called to their end.
    in_closures: Mutex<Vec<Record>>,
}

impl Ledger {
    /// Creates the ledger of a run that is not in the journal yet.
    pub fn new(
        run: RunId,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        listener: Listener,
    ) -> Self {
        let (state, rolling_back) = (Mutex::default(), AtomicBool::new(false));
        let (last, replay_cursor, closure_cursor) = (AtomicU64::new(0), RwLock::default(), RwLock::default());
        let in_closures = Mutex::default();
        Self {
            run,
            journal,
            state,
            rolling_back,
            clock,
            vault,
            listener,
            last,
            replay_cursor,
            closure_cursor,
            in_closures,
        }
    }

    /// Reads the state of a run that is already in the journal.
    ///
    /// # Errors
    /// When its entries cannot be read or are not a legal run.
    pub fn reopen(mut self) -> Result<Self, JournalError> {
        let mut state = RunState::default();
        for record in self.journal.records(&self.run)? {
            state.apply(&record.entry)?;
            self.last = AtomicU64::new(record.n);
            self.keep_of_closures(&record);
        }
        self.rolling_back = AtomicBool::new(state.rolling_back);
        self.state = Mutex::new(state);
        Ok(self)
    }

    /// Returns what the run is replayed from; `None` when it runs for the first time.
    pub fn replay_cursor(&self) -> Option<Arc<ReplayCursor>> {
        self.replay_cursor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what answers at a position: the cursor of the closure that is being called, or that of the script.
    pub fn cursor_at(&self, seq: &Seq) -> Option<Arc<ReplayCursor>> {
        let closure = self.closure_cursor.read().unwrap_or_else(PoisonError::into_inner).clone();
        closure.filter(|cursor| cursor.covers(seq)).or_else(|| self.replay_cursor())
    }

    /// Returns whether the run was reopened and goes no further than it had come.
    pub fn is_closed(&self) -> bool {
        let cursor = self.replay_cursor.read().unwrap_or_else(PoisonError::into_inner);
        cursor.as_ref().is_some_and(|cursor| cursor.is_closed())
    }

    /// Answers what an earlier call of this closure of `on_rollback` did from the journal, until the next closure.
    pub fn replay_closure(&self, registration: &Seq) {
        let records = self.in_closures.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = Arc::new(ReplayCursor::of_closure(&records, registration));
        *self.closure_cursor.write().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
    }

    /// Keeps the entries that a repeated call of a closure is answered from.
    fn keep_of_closures(&self, record: &Record) {
        let mut kept = self.in_closures.lock().unwrap_or_else(PoisonError::into_inner);
        match &record.entry {
            Entry::RollbackCalled { seq: registration } => {
                kept.retain(|record| record.entry.seq().is_none_or(|seq| !seq.is_in_rollback_of(registration)));
            }
            Entry::RunReopened { .. } | Entry::RollbackFailed { .. } => kept.push(record.clone()),
            entry if entry.seq().is_some_and(Seq::is_in_closure) => kept.push(record.clone()),
            _ => {}
        }
    }

    /// Answers what the run has done from the journal from now on. A `closed` run goes no further than that.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn replay(&self, closed: bool) -> Result<(), JournalError> {
        let cursor = Arc::new(ReplayCursor::new(&self.journal.records(&self.run)?, closed));
        *self.replay_cursor.write().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
        Ok(())
    }

    /// Writes an entry that is no effect, such as a step, unless the replayed run already has it.
    ///
    /// # Errors
    /// The same as [`Ledger::record`]; and when the replayed run has another entry there, or was interrupted there.
    pub fn record_frame(&self, entry: Entry, durability: Durability) -> Result<(), EffectError> {
        if let Some(replay_cursor) = entry.seq().and_then(|seq| self.cursor_at(seq)) {
            match replay_cursor.frame(&scrub_entry(&self.vault, &entry))? {
                FrameReplay::Known => return Ok(()),
                FrameReplay::Ended => return Err(interrupted_here()),
                FrameReplay::New => {}
            }
        }
        Ok(self.record(entry, durability)?)
    }

    /// Returns the id of the run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Returns the secrets of the run.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Returns the journal that the run is written to.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Writes one entry, then passes it to the listener. Entries are in the order of the calls.
    ///
    /// # Errors
    /// When the entry is not legal here or could not be written; the state is then unchanged.
    pub fn record(&self, entry: Entry, durability: Durability) -> Result<(), JournalError> {
        let mut state = self.state();
        state.check(&entry)?;
        let at_ms = self.clock.unix_ms();
        let clean = (!self.vault.is_unused()).then(|| scrub_entry(&self.vault, &entry));
        let next = self.last.load(Ordering::Acquire) + 1;
        let n = self.journal.append_as(&self.run, Some(next), at_ms, clean.as_ref().unwrap_or(&entry), durability)?;
        self.last.store(n, Ordering::Release);
        // The state keeps the values unscrubbed: an undo needs the real names, even those that look like a secret.
        state.apply(&entry)?;
        self.rolling_back.store(state.rolling_back, Ordering::Release);
        let entry = clean.unwrap_or(entry);
        let record = Record { run: self.run.clone(), n, at_ms, entry };
        self.keep_of_closures(&record);
        (self.listener)(&RunEvent::Recorded(record));
        Ok(())
    }

    /// Passes the progress of an effect to the listener. It is not stored.
    pub fn report_progress(&self, seq: &Seq, progress: Progress) {
        (self.listener)(&RunEvent::Progress {
            run: self.run.clone(),
            seq: seq.clone(),
            at_ms: self.clock.unix_ms(),
            text: self.vault.scrub(&progress.text),
            fraction: progress.fraction,
        });
    }

    /// Passes an entry that could not be written to the listener, so that the end of the run is shown anyway.
    pub fn report_unwritten(&self, entry: &Entry) {
        let at_ms = self.clock.unix_ms();
        let entry = scrub_entry(&self.vault, entry);
        (self.listener)(&RunEvent::Recorded(Record { run: self.run.clone(), n: 0, at_ms, entry }));
    }

    /// Returns the state of the run so far.
    pub fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the run is rolling back. Does not wait for an entry that is being written.
    pub fn rolling_back(&self) -> bool {
        self.rolling_back.load(Ordering::Acquire)
    }
}

impl From<JournalError> for EffectError {
    fn from(error: JournalError) -> Self {
        let message = error.to_string();
        match error {
            JournalError::TooLarge { .. } | JournalError::RunTooLarge { .. } => Self::new(ErrorKind::Invalid, message),
            JournalError::Illegal { .. } => Self::new(ErrorKind::Internal, message),
            JournalError::Overtaken { run } => Self::new(ErrorKind::Journal, message)
                .hint(format!("see what the other process does: `deployer show {run}`")),
            JournalError::Busy { .. } => Self::new(ErrorKind::Journal, message).hint(
                "find the process that holds `journal.db` in the state folder (`fuser`), stop it, then try again",
            ),
            JournalError::Damaged { .. } | JournalError::Read { .. } => Self::new(ErrorKind::Journal, message)
                .hint("restore `journal.db` from a backup or move it away; then check what this run left behind"),
            _ => Self::new(ErrorKind::Journal, message)
                .hint("free space on the disk of the state folder, or use another one with `--state DIR`"),
        }
        .not_applied()
    }
}
