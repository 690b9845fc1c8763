//! The gateway itself: numbers effects, hands out tickets, refuses once the run is cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::consent::Consent;
use super::fault::Faults;
use super::held_locks::HeldLocks;
use super::ledger::Ledger;
use super::look::{Broken, Look, Simulation};
use super::stack::stack;
use super::{Door, Ticket};
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::world::{Call, World};

/// The one way from a script to a world.
pub struct Gateway {
    door: Arc<dyn Door>,
    ledger: Arc<Ledger>,
    cancel: RwLock<Cancel>,
    engine: &'static str,
    finishing: AtomicBool,
    locks: Arc<HeldLocks>,
    world: Arc<dyn World>,
    simulation: Simulation,
}

/// The two ways a run is stopped from outside.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    /// Ends what goes forward; the run is taken back then.
    pub forward: CancellationToken,
    /// Ends the taking back too: the run stays as it is, unfinished.
    pub everything: CancellationToken,
}

impl Gateway {
    pub fn new(world: Arc<dyn World>, ledger: Arc<Ledger>, cancel: Cancel, faults: Option<Arc<Faults>>) -> Self {
        Self::with(world, ledger, cancel, faults, None)
    }

    /// A gateway that asks a person before it stops or removes what is live.
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
        let door = stack(world.clone(), ledger.clone(), faults, consent, locks.clone());
        let cancel = RwLock::new(cancel);
        Self { door, ledger, cancel, engine, finishing, locks, world, simulation: Simulation::default() }
    }

    /// From now on every `lock` waits so long at least for another run to let go.
    pub fn wait_for_locks(&self, wait: Duration) {
        self.locks.wait_at_least(wait);
    }

    /// Says that this run is a simulated one: branches of `parallel` take turns, so that the same run comes out each
    /// time; closures of `expect` are called; and a script that takes more operations is ended.
    pub fn simulate(&self, operations: u64) {
        self.simulation.begin(operations);
    }

    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// What the script expected, and what did not hold.
    pub fn broken(&self) -> Vec<Broken> {
        self.simulation.broken()
    }

    /// The world as it is now, to look at; none of a real one.
    pub fn look(&self) -> Option<Look> {
        let world = self.world.frozen()?;
        Some(Look { world, run: self.ledger.run().clone(), vault: self.ledger.vault().clone() })
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub fn cancel(&self) -> Cancel {
        self.cancel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was cancelled stays so; what comes from now on listens to these alone. For a session, whose effects are
    /// stopped one by one.
    pub fn renew(&self, cancel: Cancel) {
        *self.cancel.write().unwrap_or_else(PoisonError::into_inner) = cancel;
    }

    /// `docker`, `local` or `sim`.
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// Performs an effect at its place in the run.
    ///
    /// # Errors
    /// What the world or a layer says; [`ErrorKind::Cancelled`] once the run is cancelled.
    pub async fn perform(&self, seq: Seq, site: Option<Site>, effect: Effect) -> Result<Outcome, EffectError> {
        self.pass(seq, site, None, effect, self.stop()).await
    }

    /// Performs what ends a run, also one that was cancelled.
    ///
    /// # Errors
    /// As [`Gateway::perform`].
    pub async fn perform_last(&self, seq: Seq, effect: Effect) -> Result<Outcome, EffectError> {
        self.pass(seq, None, None, effect, self.cancel().everything).await
    }

    /// Performs the effect that takes the effect at `undoes` back.
    ///
    /// # Errors
    /// As [`Gateway::perform`].
    pub async fn undo(&self, seq: Seq, undoes: Seq, effect: Effect) -> Result<Outcome, EffectError> {
        self.pass(seq, None, Some(undoes), effect, self.cancel().everything).await
    }

    /// From now on only the second cancellation stops anything: the run is at its last words.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
    }

    /// What stops the run where it is now: the first cancellation on its way forward, the second one afterwards.
    pub fn stop(&self) -> CancellationToken {
        let forward = !self.ledger.unwinding() && !self.finishing.load(Ordering::Acquire);
        if forward { self.cancel().forward } else { self.cancel().everything }
    }

    /// Whether that has fired. Asked before every operation of a script, so without a handle of its own.
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
        let cancel = match effect.facts().interruptible() {
            true => stop.child_token(),
            false => self.cancel().everything.child_token(),
        };
        let ledger = self.ledger.clone();
        let told = seq.clone();
        let call = Call {
            run: self.ledger.run().clone(),
            seq,
            vault: self.ledger.vault().clone(),
            epoch: self.locks.epoch(effect.facts().service()),
            cancel,
            progress: Arc::new(move |progress| ledger.tell(&told, progress)),
            fault: None,
        };
        self.door.perform(&Ticket { call, site, undoes }, &effect).await
    }
}
