//! What only a simulated run has: snapshots of the world, and the expectations of the script that were violated in them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::base::vault::Vault;
use crate::effect::{Access, Effect, EffectError, ErrorKind, Outcome};
use crate::world::{Call, World};

/// An `expect` of the script that was violated.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokenExpectation {
    /// What the script expects, in its own words.
    pub sentence: String,
    /// The script line of the `expect`.
    pub site: Option<Site>,
    /// The clock's `steady_ms`.
    pub at_ms: u64,
    /// The error of the closure, if it failed instead of returning a value.
    pub why: Option<String>,
}

/// Whether a run is simulated, and what was recorded because of that.
#[derive(Debug, Default)]
pub struct Simulation {
    /// The operation limit of the script.
    max_operations: OnceLock<u64>,
    broken: Mutex<Vec<BrokenExpectation>>,
    /// The longest time without an answer that the script allows.
    gap_ms: AtomicU64,
    /// Whether the last branch of a `parallel` runs first.
    last_branch_first: AtomicBool,
    /// The closures of `on_rollback` that were called.
    called: Mutex<BTreeSet<Seq>>,
}

impl Simulation {
    /// Marks the run as simulated. The first call decides.
    pub fn enable(&self, max_operations: u64) {
        self.max_operations.get_or_init(|| max_operations);
    }

    /// Returns the operation limit of the script, if the run is simulated.
    pub fn max_operations(&self) -> Option<u64> {
        self.max_operations.get().copied()
    }

    /// Returns whether the run is simulated.
    pub fn is_enabled(&self) -> bool {
        self.max_operations.get().is_some()
    }

    /// Records how long clients may be without an answer.
    pub fn allow_gap(&self, ms: u64) {
        self.gap_ms.fetch_max(ms, Ordering::AcqRel);
    }

    /// Returns the longest gap that the script has allowed so far.
    pub fn gap_ms(&self) -> u64 {
        self.gap_ms.load(Ordering::Acquire)
    }

    /// Runs the branches of each `parallel` in reverse order.
    pub fn run_last_branch_first(&self) {
        self.last_branch_first.store(true, Ordering::Release);
    }

    /// Returns whether the branches of a `parallel` run in reverse order.
    pub fn runs_last_branch_first(&self) -> bool {
        self.last_branch_first.load(Ordering::Acquire)
    }

    /// Records that the closure of `on_rollback` that was registered at `seq` is called.
    pub fn record_called(&self, seq: &Seq) {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).insert(seq.clone());
    }

    /// Returns the registrations of the closures of `on_rollback` that were called.
    pub fn called_closures(&self) -> BTreeSet<Seq> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a violated expectation, the first time that it is violated.
    pub fn record_broken(&self, broken: BrokenExpectation) {
        let mut all = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().all(|known| known.sentence != broken.sentence) {
            all.push(broken);
        }
    }

    /// Returns the violated expectations, in the order in which they were recorded.
    pub fn broken_expectations(&self) -> Vec<BrokenExpectation> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The world at one instant. Reading from it leaves no trace and takes no time.
pub struct WorldSnapshot {
    pub(super) world: Arc<dyn World>,
    pub(super) run: RunId,
    pub(super) vault: Arc<Vault>,
}

impl WorldSnapshot {
    /// Performs a read.
    ///
    /// # Errors
    /// Returns the error of the world, and refuses every effect that changes something.
    pub async fn perform(&self, seq: Seq, effect: &Effect) -> Result<Outcome, EffectError> {
        if effect.spec().access() == Access::Write {
            let message = format!("a closure of `expect` may only read: `{}` would change something", effect.kind());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let call = Call::silent(self.run.clone(), seq, self.vault.clone());
        self.world.perform(&call, effect).await
    }

    /// Returns the instant, as the clock's `steady_ms`.
    pub fn at_ms(&self) -> u64 {
        self.world.clock().steady_ms()
    }
}
