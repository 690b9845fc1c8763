//! The death of a process at one exact entry: from there on nothing reaches the journal or the world. And the bounds
//! of a simulated run, so that one which never ends is found out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use super::attempt::When;
use crate::base::run_id::RunId;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::gateway::Cancel;
use crate::journal::entry::{Entry, Record, RunSummary};
use crate::journal::{Durability, Journal, JournalError};
use crate::world::clock::Clock;
use crate::world::{Call, World};

/// The virtual time after which a run is taken to never end.
pub const LONGEST_RUN_MS: u64 = 6 * 60 * 60 * 1_000;
/// The number of effects after which a run is taken to never end.
pub const MOST_EFFECTS: u64 = 20_000;

/// One process: when it dies, and whether it has.
#[derive(Debug, Default)]
pub struct Life {
    ends: Option<When>,
    written: AtomicU64,
    dead: AtomicBool,
}

impl Life {
    pub fn new(ends: Option<When>) -> Arc<Self> {
        Arc::new(Self { ends, ..Self::default() })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Entries that it wrote.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}

pub struct MortalJournal {
    pub life: Arc<Life>,
    pub inner: Arc<dyn Journal>,
}

fn dead() -> JournalError {
    JournalError::Write { why: "the process is dead".into() }
}

impl Journal for MortalJournal {
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError> {
        let life = &self.life;
        if life.is_dead() {
            return Err(dead());
        }
        let number = life.written.fetch_add(1, Ordering::AcqRel) + 1;
        if life.ends == Some(When::Before(number)) {
            life.dead.store(true, Ordering::Release);
            return Err(dead());
        }
        let n = self.inner.append(run, at_ms, entry, durability)?;
        if life.ends == Some(When::After(number)) {
            life.dead.store(true, Ordering::Release);
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

/// A world as a process that may die sees it, within the bounds of a run.
pub struct MortalWorld {
    pub life: Arc<Life>,
    pub inner: Arc<dyn World>,
    pub bounds: Arc<Bounds>,
}

/// What a run may take.
pub struct Bounds {
    until_ms: u64,
    effects: AtomicU64,
    overrun: AtomicBool,
}

impl Bounds {
    pub fn from(now_ms: u64) -> Arc<Self> {
        let until_ms = now_ms.saturating_add(LONGEST_RUN_MS);
        Arc::new(Self { until_ms, effects: AtomicU64::new(0), overrun: AtomicBool::new(false) })
    }

    pub fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Acquire)
    }

    /// Stops a run that takes more, at once and for good.
    fn check(&self, now_ms: u64, cancel: &Cancel) {
        let effects = self.effects.fetch_add(1, Ordering::AcqRel) + 1;
        if now_ms > self.until_ms || effects > MOST_EFFECTS {
            self.overrun.store(true, Ordering::Release);
            cancel.forward.cancel();
            cancel.everything.cancel();
        }
    }
}

/// As [`MortalWorld`], with what stops the run.
pub struct BoundWorld {
    pub world: MortalWorld,
    pub cancel: Cancel,
}

impl World for BoundWorld {
    fn name(&self) -> &'static str {
        self.world.inner.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.world.inner.clock()
    }

    fn frozen(&self) -> Option<Arc<dyn World>> {
        self.world.inner.frozen()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        if self.world.life.is_dead() {
            return Box::pin(async { Err(EffectError::new(ErrorKind::Internal, "the process is dead").not_applied()) });
        }
        self.world.bounds.check(self.world.inner.clock().steady_ms(), &self.cancel);
        self.world.inner.perform(call, effect)
    }
}
