//! The simulated twin of the real worlds. Performs every effect at once, in virtual time; touches nothing outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::http::Answer;
use super::scenario::Scenario;
use super::sim_clock::SimClock;
use super::sim_host::SimHost;
use super::snapshot::Snapshot;
use crate::base::run_id::RunId;
use crate::effect::notify::Notify;
use crate::effect::{Effect, EffectError, Outcome};
use crate::world::clock::Clock;
use crate::world::{Call, World};

/// A simulated host. Effects of parallel branches are performed one after the other, in the order they come.
#[derive(Debug)]
pub struct SimWorld {
    clock: Arc<SimClock>,
    host: Mutex<SimHost>,
}

impl SimWorld {
    /// The host as the scenario describes it.
    ///
    /// # Errors
    /// When a container of the scenario cannot be placed: its image is missing, its name or port is taken.
    pub fn new(scenario: Scenario) -> Result<Self, EffectError> {
        let host = SimHost::new(scenario)?;
        Ok(Self { clock: Arc::clone(&host.clock), host: Mutex::new(host) })
    }

    fn host(&self) -> MutexGuard<'_, SimHost> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        host.settle();
        host
    }

    /// Who would answer a visitor's request on this port of the host right now; none when it would be refused.
    pub fn answer(&self, port: u16) -> Option<Answer> {
        self.host().answer(port, "/")
    }

    /// The state of the whole host, to compare with another instant's.
    pub fn snapshot(&self) -> Snapshot {
        self.host().snapshot()
    }

    /// The notifications that arrived, oldest first.
    pub fn sent(&self) -> Vec<Notify> {
        self.host().outbox.sent.clone()
    }

    /// Turns the host's time of day back.
    pub fn turn_back(&self, by: Duration) {
        self.clock.turn_back(by);
    }

    /// Marks a run as killed: its locks can be taken over.
    pub fn bury(&self, run: &RunId) {
        self.host().locks.values_mut().filter(|held| held.run == *run).for_each(|held| held.dead = true);
    }
}

impl World for SimWorld {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move { self.host().perform(call, effect) })
    }
}
