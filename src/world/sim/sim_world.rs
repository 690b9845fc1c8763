//! The simulated twin of the real worlds. Performs every effect at once, in virtual time; touches nothing outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::behaviour::Page;
use super::http::Answer;
use super::scenario::Scenario;
use super::sim_clock::SimClock;
use super::sim_host::SimHost;
use super::snapshot::Snapshot;
use super::sqlite_rows::Rows;
use super::visitors::{PublicAddress, Spell, Visitors};
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

    /// The same on another path.
    pub fn answer_on(&self, port: u16, path: &str) -> Option<Answer> {
        self.host().answer(port, path)
    }

    /// From now on visitors come to this address, at every instant.
    pub fn receive_visitors(&self, address: PublicAddress) {
        let mut host = self.host();
        let now = host.now();
        host.visitors = Some(Visitors::arriving(address, now));
    }

    /// What they saw until now, oldest first.
    pub fn spells(&self) -> Vec<Spell> {
        self.host().visitors.as_ref().map(|visitors| visitors.spells.clone()).unwrap_or_default()
    }

    /// The instants of `steady_ms` at which a container was killed that was answering them, and which it was.
    pub fn cut_off(&self) -> Vec<(u64, String)> {
        self.host().visitors.as_ref().map(|visitors| visitors.cut_off.clone()).unwrap_or_default()
    }

    /// The first instant at which requests went to a target that answered none, and which it was.
    pub fn misdirected(&self) -> Option<(u64, String)> {
        self.host().visitors.as_ref().and_then(|visitors| visitors.misdirected.clone())
    }

    /// From now on the host as it was before its last change is kept, so that answers can be stale.
    pub fn remember(&self) {
        self.host().remembers = true;
    }

    /// Rows of every database in volumes and outside, by place and table.
    pub fn rows(&self) -> Rows {
        self.host().rows()
    }

    /// The state of the whole host, to compare with another instant's.
    pub fn snapshot(&self) -> Snapshot {
        self.host().snapshot()
    }

    /// The notifications that arrived, oldest first.
    pub fn sent(&self) -> Vec<Notify> {
        self.host().outbox.sent.clone()
    }

    /// Takes a compose file in, as a real `compose_config` tells it.
    pub fn learn_project(&self, file: &str, config: &serde_json::Value) {
        self.host().learn_project(file, config);
    }

    /// Whether somebody would answer a request to this URL.
    pub fn answers(&self, url: &str) -> bool {
        let host = self.host();
        host.place(url).is_ok_and(|(place, path)| host.page(&place, &path).is_some())
    }

    /// Has a URL at which nobody answered be answered like this.
    pub fn learn_page(&self, url: &str, page: Page) {
        self.host().learn_page(url, page);
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

    fn frozen(&self) -> Option<Arc<dyn World>> {
        let host = self.host().fork();
        Some(Arc::new(Self { clock: Arc::clone(&host.clock), host: Mutex::new(host) }))
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move { self.host().perform(call, effect) })
    }
}
