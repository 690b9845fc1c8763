//! The journal of one run as it is being written: folds, scrubs, stores, and tells the faces.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::redact::scrub_entry;
use super::replay::ended;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::vault::Vault;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Entry, Record, RunEvent};
use crate::journal::past::{FrameAnswer, Past};
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
    /// Number of the last entry: whoever else writes to this run is found out by it.
    last: AtomicU64,
    past: OnceLock<Past>,
}

impl Ledger {
    pub fn new(
        run: RunId,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        listener: Listener,
    ) -> Self {
        let (state, unwinding) = (Mutex::default(), AtomicBool::new(false));
        let (last, past) = (AtomicU64::new(0), OnceLock::new());
        Self { run, journal, state, unwinding, clock, vault, listener, last, past }
    }

    /// Takes up a run that is in the journal already.
    ///
    /// # Errors
    /// When its entries cannot be read or do not make a legal run.
    pub fn reopen(mut self) -> Result<Self, JournalError> {
        let mut state = RunState::default();
        for record in self.journal.records(&self.run)? {
            state.apply(&record.entry)?;
            self.last = AtomicU64::new(record.n);
        }
        self.unwinding = AtomicBool::new(state.unwinding);
        self.state = Mutex::new(state);
        Ok(self)
    }

    /// What the run is replayed from; none when it runs for the first time.
    pub fn past(&self) -> Option<&Past> {
        self.past.get()
    }

    /// From now on, what the run had done is answered from the journal. `closed`: and it goes no further.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn replay(&self, closed: bool) -> Result<(), JournalError> {
        let past = Past::of(&self.journal.records(&self.run)?, closed);
        self.past.get_or_init(|| past);
        Ok(())
    }

    /// Writes an entry of the script's own making, unless the run that is replayed has it already.
    ///
    /// # Errors
    /// As [`Ledger::record`]; and when the script makes another one now, or has come to where the run was stopped.
    pub fn record_frame(&self, entry: Entry, durability: Durability) -> Result<(), EffectError> {
        if let Some(past) = self.past() {
            match past.frame(&scrub_entry(&self.vault, &entry))? {
                FrameAnswer::Known => return Ok(()),
                FrameAnswer::Ended => return Err(ended()),
                FrameAnswer::New => {}
            }
        }
        Ok(self.record(entry, durability)?)
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
        let clean = (!self.vault.is_unused()).then(|| scrub_entry(&self.vault, &entry));
        let n = self.journal.append(&self.run, at_ms, clean.as_ref().unwrap_or(&entry), durability)?;
        if self.last.swap(n, Ordering::AcqRel) + 1 != n {
            return Err(JournalError::Overtaken { run: self.run.clone() });
        }
        // The state keeps the values as they are: an undo must name what it takes back, whatever looks like a secret.
        state.apply(&entry)?;
        self.unwinding.store(state.unwinding, Ordering::Release);
        let entry = clean.unwrap_or(entry);
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
