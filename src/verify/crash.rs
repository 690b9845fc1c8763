//! A world that stops with its process, and the limits of a simulated run, so that a run that never ends is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::gateway::Cancel;
use crate::journal::crashing_journal::Crash;
use crate::world::clock::Clock;
use crate::world::{Call, World};

/// A run that takes longer than this, in virtual time, is stopped.
pub(super) const MAX_RUN_MS: u64 = 6 * 60 * 60 * 1_000;
/// A run that performs more effects than this is stopped.
pub(super) const MAX_EFFECTS: u64 = 20_000;

/// A world that refuses every effect once its process has crashed.
pub struct CrashingWorld {
    inner: Arc<dyn World>,
    crash: Arc<Crash>,
}

impl CrashingWorld {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn World>, crash: Arc<Crash>) -> Self {
        Self { inner, crash }
    }
}

impl World for CrashingWorld {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn frozen(&self) -> Option<Arc<dyn World>> {
        self.inner.frozen()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        if self.crash.has_happened() {
            let error = EffectError::new(ErrorKind::Internal, "the process has crashed").not_applied();
            return Box::pin(async { Err(error) });
        }
        self.inner.perform(call, effect)
    }
}

/// How much time and how many effects a run may take, over all its processes.
pub(super) struct RunLimits {
    until_ms: u64,
    effects: AtomicU64,
    exceeded: AtomicBool,
}

impl RunLimits {
    /// Creates the limits of a run that starts now.
    pub(super) fn starting_at(now_ms: u64) -> Arc<Self> {
        let until_ms = now_ms.saturating_add(MAX_RUN_MS);
        Arc::new(Self { until_ms, effects: AtomicU64::new(0), exceeded: AtomicBool::new(false) })
    }

    /// Returns whether the run was stopped for exceeding them.
    pub(super) fn are_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Acquire)
    }

    /// Counts one effect, and stops a run that exceeds the limits: immediately, without a rollback.
    fn check(&self, now_ms: u64, cancel: &Cancel) {
        let effects = self.effects.fetch_add(1, Ordering::AcqRel) + 1;
        if now_ms > self.until_ms || effects > MAX_EFFECTS {
            self.exceeded.store(true, Ordering::Release);
            cancel.forward.cancel();
            cancel.everything.cancel();
        }
    }
}

/// A [`CrashingWorld`] that also enforces the limits of the run.
pub(super) struct LimitedWorld {
    /// The world.
    pub world: CrashingWorld,
    /// The limits of the run.
    pub limits: Arc<RunLimits>,
    /// Stops the run.
    pub cancel: Cancel,
}

impl World for LimitedWorld {
    fn name(&self) -> &'static str {
        self.world.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.world.clock()
    }

    fn frozen(&self) -> Option<Arc<dyn World>> {
        self.world.frozen()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        if !self.world.crash.has_happened() {
            self.limits.check(self.world.clock().steady_ms(), &self.cancel);
        }
        self.world.perform(call, effect)
    }
}
