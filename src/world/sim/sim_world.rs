//! The simulated world. Performs every effect immediately, in virtual time, and touches nothing outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::http::ServedResponse;
use super::model::behaviour::SimResponse;
use super::model::database::DatabaseRows;
use super::model::scenario::Scenario;
use super::model::traffic_probe::{PublicAddress, TrafficInterval, TrafficProbe};
use super::sim_clock::SimClock;
use super::sim_host::SimHost;
use super::snapshot::HostSnapshot;
use crate::base::run_id::RunId;
use crate::effect::notify::Notify;
use crate::effect::{Effect, EffectError, Outcome};
use crate::world::clock::Clock;
use crate::world::{Call, World};

/// A simulated host. Effects of parallel branches are performed one after the other, in the order they arrive.
#[derive(Debug)]
pub struct SimWorld {
    clock: Arc<SimClock>,
    host: Mutex<SimHost>,
}

impl SimWorld {
    /// Creates the host that the scenario describes.
    ///
    /// # Errors
    /// Returns an error if a container of the scenario cannot be created: its image is missing, or its name or port is
    /// taken.
    pub fn new(scenario: Scenario) -> Result<Self, EffectError> {
        let host = SimHost::new(scenario)?;
        Ok(Self { clock: Arc::clone(&host.clock), host: Mutex::new(host) })
    }

    fn host(&self) -> MutexGuard<'_, SimHost> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        host.run_due_events();
        host
    }

    /// Returns the response that a request to this host port would get now, or `None` if it would be refused.
    pub fn response_on_port(&self, port: u16) -> Option<ServedResponse> {
        self.host().response_on_port(port, "/")
    }

    /// Like [`Self::response_on_port`], for another path.
    pub fn response_on_path(&self, port: u16, path: &str) -> Option<ServedResponse> {
        self.host().response_on_port(port, path)
    }

    /// Sends client traffic to this address from now on, at every instant.
    pub fn probe_public_address(&self, address: PublicAddress) {
        let mut host = self.host();
        let now = host.now();
        host.traffic_probe = Some(TrafficProbe::starting_at(address, now));
    }

    /// Returns what clients have got so far, oldest first.
    pub fn traffic_intervals(&self) -> Vec<TrafficInterval> {
        self.host().traffic_probe.as_ref().map(|probe| probe.intervals.clone()).unwrap_or_default()
    }

    /// Returns when containers with client requests in flight were killed, as `steady_ms`, and their names.
    pub fn cut_off_requests(&self) -> Vec<(u64, String)> {
        self.host().traffic_probe.as_ref().map(|probe| probe.cut_off.clone()).unwrap_or_default()
    }

    /// Returns when client requests first went to a target that did not answer, as `steady_ms`, and its name.
    pub fn first_dead_target(&self) -> Option<(u64, String)> {
        self.host().traffic_probe.as_ref().and_then(|probe| probe.first_dead_target.clone())
    }

    /// Keeps the state before the last change from now on, so that answers can be stale.
    pub fn keep_previous_state(&self) {
        self.host().keeps_previous = true;
    }

    /// Returns the rows of all databases, by database and table.
    pub fn database_rows(&self) -> DatabaseRows {
        self.host().database_rows()
    }

    /// Returns the state of the whole host, for comparison with a later one.
    pub fn snapshot(&self) -> HostSnapshot {
        self.host().snapshot()
    }

    /// Returns the notifications that were delivered, oldest first.
    pub fn notifications(&self) -> Vec<Notify> {
        self.host().outbox.sent.clone()
    }

    /// Adds a compose project, given as a real `compose_config` returns it.
    pub fn add_compose_project(&self, file: &str, config: &serde_json::Value) {
        self.host().add_compose_project(file, config);
    }

    /// Returns whether a request to this URL would get a response.
    pub fn is_reachable(&self, url: &str) -> bool {
        let host = self.host();
        host.parse_url(url, &url.into()).is_ok_and(|(endpoint, path)| host.response(&endpoint, &path).is_some())
    }

    /// Adds a response for a URL that had none.
    pub fn add_response(&self, url: &str, response: SimResponse) {
        self.host().add_response(url, response);
    }

    /// Sets the host's time of day back.
    pub fn set_clock_back(&self, by: Duration) {
        self.clock.set_clock_back(by);
    }

    /// Marks a run as killed, so that its locks can be taken over.
    pub fn mark_run_dead(&self, run: &RunId) {
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
