//! What only a simulated run has: a look at the world as it is at an instant, and sentences that did not hold in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::base::vault::Vault;
use crate::effect::{Access, Effect, EffectError, ErrorKind, Outcome};
use crate::world::{Call, World};

/// A sentence of the script, by `expect`, that did not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    pub sentence: String,
    pub site: Option<Site>,
    /// The clock's `steady_ms`.
    pub at_ms: u64,
    /// What the closure failed with, where it gave no answer.
    pub why: Option<String>,
}

/// Whether this run is simulated, and what came of that.
#[derive(Debug, Default)]
pub struct Simulation {
    /// Most operations of the script.
    operations: OnceLock<u64>,
    broken: Mutex<Vec<Broken>>,
    /// The longest time without an answer that the script states.
    gap_ms: AtomicU64,
}

impl Simulation {
    pub fn begin(&self, operations: u64) {
        self.operations.get_or_init(|| operations);
    }

    pub fn operations(&self) -> Option<u64> {
        self.operations.get().copied()
    }

    pub fn is_on(&self) -> bool {
        self.operations.get().is_some()
    }

    /// Notes for how long visitors may be without an answer.
    pub fn state_gap(&self, ms: u64) {
        self.gap_ms.fetch_max(ms, Ordering::AcqRel);
    }

    /// What the script stated so far.
    pub fn gap_ms(&self) -> u64 {
        self.gap_ms.load(Ordering::Acquire)
    }

    /// Notes a sentence that did not hold, the first time.
    pub fn note(&self, broken: Broken) {
        let mut all = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().all(|known| known.sentence != broken.sentence) {
            all.push(broken);
        }
    }

    pub fn broken(&self) -> Vec<Broken> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The world as it is at an instant: what is read in it leaves no trace and takes no time.
pub struct Look {
    pub(super) world: Arc<dyn World>,
    pub(super) run: RunId,
    pub(super) vault: Arc<Vault>,
}

impl Look {
    /// # Errors
    /// What the world says; and for everything that would change something.
    pub async fn perform(&self, seq: Seq, effect: &Effect) -> Result<Outcome, EffectError> {
        if effect.facts().access() == Access::Write {
            let message = format!("a closure of `expect` only looks: `{}` would change something", effect.kind());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let call = Call::silent(self.run.clone(), seq, self.vault.clone());
        self.world.perform(&call, effect).await
    }

    pub fn at_ms(&self) -> u64 {
        self.world.clock().steady_ms()
    }
}
