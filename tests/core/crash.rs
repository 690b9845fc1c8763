//! The death of a process at one exact point: from there on nothing reaches the journal or the world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use deployer::base::run_id::RunId;
use deployer::effect::{Access, Effect, EffectError, ErrorKind, Outcome, Recovery};
use deployer::journal::entry::{Entry, Record, RunSummary};
use deployer::journal::{Durability, Journal, JournalError};
use deployer::world::clock::Clock;
use deployer::world::{Call, World};
use futures_util::future::BoxFuture;

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as the entry is written: an effect that it announces is not begun.
    After(u64),
    /// Instead of writing the entry: an effect whose outcome it is has happened.
    Before(u64),
}

/// One death. Entries are counted from the first that this process writes.
#[derive(Debug)]
pub struct Crash {
    when: When,
    written: AtomicU64,
    dead: AtomicBool,
}

impl Crash {
    pub fn new(when: When) -> Self {
        Self { when, written: AtomicU64::new(0), dead: AtomicBool::new(false) }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub fn journal(self: &Arc<Self>, inner: Arc<dyn Journal>) -> Arc<dyn Journal> {
        Arc::new(MortalJournal { crash: self.clone(), inner })
    }

    pub fn world(self: &Arc<Self>, inner: Arc<dyn World>) -> Arc<dyn World> {
        Arc::new(MortalWorld { crash: self.clone(), inner })
    }
}

struct MortalJournal {
    crash: Arc<Crash>,
    inner: Arc<dyn Journal>,
}

fn dead() -> JournalError {
    JournalError::Write { why: "the process is dead".into() }
}

impl Journal for MortalJournal {
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError> {
        let crash = &self.crash;
        if crash.is_dead() {
            return Err(dead());
        }
        let number = crash.written.fetch_add(1, Ordering::AcqRel) + 1;
        if crash.when == When::Before(number) {
            crash.dead.store(true, Ordering::Release);
            return Err(dead());
        }
        let n = self.inner.append(run, at_ms, entry, durability)?;
        if crash.when == When::After(number) {
            crash.dead.store(true, Ordering::Release);
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

    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError> {
        self.inner.remove(runs)
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
        self.inner.runs(limit)
    }
}

struct MortalWorld {
    crash: Arc<Crash>,
    inner: Arc<dyn World>,
}

impl World for MortalWorld {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        if self.crash.is_dead() {
            return Box::pin(async { Err(EffectError::new(ErrorKind::Internal, "the process is dead").not_applied()) });
        }
        self.inner.perform(call, effect)
    }
}

/// A world where every answer gets lost once: what is safe to repeat is done twice.
pub struct Twice(pub Arc<dyn World>);

impl World for Twice {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let facts = effect.facts();
            if facts.access() == Access::Write && facts.recovery() == Recovery::Repeat {
                self.0.perform(call, effect).await?;
            }
            self.0.perform(call, effect).await
        })
    }
}
