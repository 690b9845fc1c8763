//! The gateway itself: creates the context of each effect, sends it through the layers, and refuses effects once the
//! run is cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::consent::Consent;
use super::fault::Faults;
use super::held_locks::HeldLocks;
use super::ledger::Ledger;
use super::simulation::{BrokenExpectation, Simulation, WorldSnapshot};
use super::stack::stack;
use super::{Layer, RequestContext};
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::world::{Call, World};

/// The single path from a script to a world.
pub struct Gateway {
    layers: Arc<dyn Layer>,
    ledger: Arc<Ledger>,
    cancel: RwLock<Cancel>,
    engine: &'static str,
    finishing: AtomicBool,
    locks: Arc<HeldLocks>,
    world: Arc<dyn World>,
    simulation: Simulation,
}

/// The two ways to stop a run from outside.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    /// Stops the script; the run is then rolled back.
    pub forward: CancellationToken,
    /// Stops the rollback too; the run stays as it is, unfinished.
    pub everything: CancellationToken,
    /// Why, once it was stopped.
    cause: Arc<OnceLock<String>>,
}

impl Cancel {
    /// Stops the script and remembers why, such as "the run was cancelled by Ctrl-C". The first cause counts.
    pub fn forward_because(&self, cause: &str) {
        // A second cause changes nothing.
        let _ = self.cause.set(cause.to_owned());
        self.forward.cancel();
    }

    /// Returns why the script was stopped.
    pub fn cause(&self) -> &str {
        self.cause.get().map_or("the run was cancelled", String::as_str)
    }
}

impl Gateway {
    /// Creates a gateway to `world`. `faults` are injected as close to the world as possible.
    pub fn new(world: Arc<dyn World>, ledger: Arc<Ledger>, cancel: Cancel, faults: Option<Arc<Faults>>) -> Self {
        Self::with(world, ledger, cancel, faults, None)
    }

    /// Creates a gateway that asks for confirmation before it stops or removes something live.
    pub fn asking(world: Arc<dyn World>, ledger: Arc<Ledger>, cancel: Cancel, consent: Arc<dyn Consent>) -> Self {
        Self::with(world, ledger, cancel, None, Some(consent))
    }

    fn with(
        world: Arc<dyn World>,
        ledger: Arc<Ledger>,
        cancel: Cancel,
        faults: Option<Arc<Faults>>,
        consent: Option<Arc<dyn Consent>>,
    ) -> Self {
        let engine = world.name();
        let finishing = AtomicBool::new(false);
        let locks = Arc::new(HeldLocks::default());
        let layers = stack(world.clone(), ledger.clone(), faults, consent, locks.clone());
        let cancel = RwLock::new(cancel);
        Self { layers, ledger, cancel, engine, finishing, locks, world, simulation: Simulation::default() }
    }

    /// Sets the minimum time that every `lock` waits for another run to release it.
    pub fn wait_for_locks(&self, wait: Duration) {
        self.locks.wait_at_least(wait);
    }

    /// Marks this run as simulated. Branches of `parallel` take turns, so that the run is deterministic; closures of
    /// `expect` are called; and a script that exceeds this many operations is stopped.
    pub fn simulate(&self, max_operations: u64) {
        self.simulation.enable(max_operations);
    }

    /// Returns what only a simulated run has.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Returns the expectations of the script that were violated.
    pub fn broken_expectations(&self) -> Vec<BrokenExpectation> {
        self.simulation.broken_expectations()
    }

    /// Returns the world as it is now, to read from. A real world has no snapshot.
    pub fn snapshot(&self) -> Option<WorldSnapshot> {
        let world = self.world.frozen()?;
        Some(WorldSnapshot { world, run: self.ledger.run().clone(), vault: self.ledger.vault().clone() })
    }

    /// Returns the ledger of the run.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Returns the tokens that stop the run.
    pub fn cancel(&self) -> Cancel {
        self.cancel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the cancellation tokens for the effects that follow; what was cancelled stays cancelled. For a session,
    /// whose effects are stopped one at a time.
    pub fn renew(&self, cancel: Cancel) {
        *self.cancel.write().unwrap_or_else(PoisonError::into_inner) = cancel;
    }

    /// Returns the kind of the engine: `docker`, `local` or `sim`.
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Performs an effect at its position in the run.
    ///
    /// # Errors
    /// Returns the error of the world or of a layer, and [`ErrorKind::Cancelled`] once the run is cancelled.
    pub async fn perform(&self, seq: Seq, site: Option<Site>, effect: Effect) -> Result<Outcome, EffectError> {
        self.pass(seq, site, None, effect, self.stop()).await
    }

    /// Performs an effect that ends a run, even a cancelled one.
    ///
    /// # Errors
    /// The same as [`Gateway::perform`].
    pub async fn perform_last(&self, seq: Seq, effect: Effect) -> Result<Outcome, EffectError> {
        self.pass(seq, None, None, effect, self.cancel().everything).await
    }

    /// Performs the effect that undoes the effect at `undoes`.
    ///
    /// # Errors
    /// The same as [`Gateway::perform`].
    pub async fn undo(&self, seq: Seq, undoes: Seq, effect: Effect) -> Result<Outcome, EffectError> {
        self.pass(seq, None, Some(undoes), effect, self.cancel().everything).await
    }

    /// Marks the run as finishing: from now on only the second cancellation stops anything.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
    }

    /// Returns the token that stops the run where it is now: the first cancellation while the script runs, the second
    /// one afterwards, and while a run is replayed only to be rolled back.
    pub fn stop(&self) -> CancellationToken {
        let ends = self.ledger.rolling_back() || self.ledger.is_closed();
        let forward = !ends && !self.finishing.load(Ordering::Acquire);
        if forward { self.cancel().forward } else { self.cancel().everything }
    }

    /// Returns whether [`Gateway::stop`] has fired. Called before every operation of a script, so it clones no token.
    pub fn is_stopped(&self) -> bool {
        let cancel = self.cancel.read().unwrap_or_else(PoisonError::into_inner);
        let any = cancel.forward.is_cancelled() || cancel.everything.is_cancelled();
        drop(cancel);
        any && self.stop().is_cancelled()
    }

    async fn pass(
        &self,
        seq: Seq,
        site: Option<Site>,
        undoes: Option<Seq>,
        effect: Effect,
        stop: CancellationToken,
    ) -> Result<Outcome, EffectError> {
        if stop.is_cancelled() {
            let message = format!("the run was cancelled before `{}`", effect.kind());
            return Err(EffectError::new(ErrorKind::Cancelled, message).not_applied());
        }
        let cancel = match effect.spec().interruptible() {
            true => stop.child_token(),
            false => self.cancel().everything.child_token(),
        };
        let ledger = self.ledger.clone();
        let position = seq.clone();
        let call = Call {
            run: self.ledger.run().clone(),
            seq,
            vault: self.ledger.vault().clone(),
            epoch: self.locks.epoch(effect.spec().service()),
            cancel,
            progress: Arc::new(move |progress| ledger.report_progress(&position, progress)),
            fault: None,
        };
        self.layers.perform(&RequestContext { call, site, undoes }, &effect).await
    }
}
