//! The simulated host: its whole state, and the passing of time. Knows nothing of futures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::model::approver::SimApprover;
use super::model::behaviour::SimResponse;
use super::model::compose::SimProject;
use super::model::containers::Containers;
use super::model::database::SimDatabase;
use super::model::git::SimRepo;
use super::model::ids::Ids;
use super::model::image::Images;
use super::model::lock::{Epochs, Locks};
use super::model::machine::SimMachine;
use super::model::network::Networks;
use super::model::outbox::Outbox;
use super::model::program::SimProgram;
use super::model::route::Routes;
use super::model::scenario::{RecordedRead, Scenario};
use super::model::storage::SimStorage;
use super::model::traffic_counts::RequestCounts;
use super::model::traffic_probe::TrafficProbe;
use super::model::volume::Volumes;
use super::sim_clock::SimClock;
use crate::effect::time::{Instant, TimeEffect, TimeOutcome};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::world::Call;
use crate::world::clock::Clock;

/// The state of the host.
#[derive(Clone, Debug)]
pub(super) struct SimHost {
    pub(super) clock: Arc<SimClock>,
    pub(super) ids: Ids,
    pub(super) machine: SimMachine,
    pub(super) images: Images,
    pub(super) containers: Containers,
    pub(super) volumes: Volumes,
    pub(super) networks: Networks,
    pub(super) projects: BTreeMap<String, SimProject>,
    pub(super) repos: BTreeMap<String, SimRepo>,
    pub(super) databases: BTreeMap<String, SimDatabase>,
    pub(super) objects: SimStorage,
    pub(super) programs: BTreeMap<String, SimProgram>,
    pub(super) outbox: Outbox,
    pub(super) locks: Locks,
    pub(super) epochs: Epochs,
    pub(super) remote_responses: BTreeMap<String, SimResponse>,
    pub(super) recorded_reads: Arc<Vec<RecordedRead>>,
    pub(super) traffic_probe: Option<TrafficProbe>,
    /// Whether the state before the last change is kept, for stale answers.
    pub(super) keeps_previous: bool,
    pub(super) previous: Option<Box<SimHost>>,
    pub(super) engine_down_until: Option<u64>,
    pub(super) routes: Routes,
    pub(super) requests_per_second: u64,
    pub(super) request_counts: BTreeMap<String, RequestCounts>,
    pub(super) approvers: Vec<SimApprover>,
    /// When each approval question was first asked.
    pub(super) first_asked: BTreeMap<String, u64>,
}

impl SimHost {
    pub(super) fn new(scenario: Scenario) -> Result<Self, EffectError> {
        let mut host = Self {
            clock: Arc::new(SimClock::starting_at(scenario.start_unix_ms)),
            ids: Ids::new(scenario.seed),
            machine: scenario.machine,
            images: Images::default(),
            containers: Containers::default(),
            volumes: Volumes(scenario.volumes),
            networks: Networks::default(),
            projects: scenario.projects,
            repos: scenario.repos,
            databases: scenario.databases,
            objects: scenario.objects,
            programs: scenario.programs,
            outbox: scenario.outbox,
            locks: scenario.locks,
            epochs: Epochs::new(),
            remote_responses: scenario.remote_responses,
            recorded_reads: Arc::new(scenario.recorded_reads),
            traffic_probe: None,
            keeps_previous: false,
            previous: None,
            engine_down_until: None,
            routes: scenario.routes,
            requests_per_second: scenario.requests_per_second,
            request_counts: BTreeMap::new(),
            approvers: scenario.approvers,
            first_asked: BTreeMap::new(),
        };
        for (name, volume) in host.volumes.0.iter_mut().filter(|(_, volume)| volume.content_id.is_empty()) {
            volume.content_id.clone_from(name);
        }
        for image in &scenario.images {
            host.images.add(&mut host.ids, image, 0);
        }
        host.images.registry = scenario.registry;
        host.images.registry_down = scenario.registry_down;
        host.images.archives = scenario.archives;
        host.images.builds = scenario.builds;
        host.images.permissive = scenario.permissive;
        for (name, network) in scenario.networks {
            let id = host.ids.next();
            host.networks.0.insert(name, (id, network));
        }
        for placed in &scenario.containers {
            let mut spec = placed.spec.clone();
            // The name may refer to another image by now.
            let made_from = placed.image_id.as_ref().filter(|id| host.images.by_id_prefix(id).is_some());
            spec.image.clone_from(made_from.unwrap_or(&placed.spec.image));
            let name = host.create(None, &spec)?;
            if let Some(container) = host.containers.get_mut(&name) {
                container.spec.image.clone_from(&placed.spec.image);
                container.id.clone_from(placed.id.as_ref().unwrap_or(&container.id.clone()));
                container.image_id.clone_from(placed.image_id.as_ref().unwrap_or(&container.image_id.clone()));
            }
            if !placed.stopped {
                host.start(&name)?;
            }
        }
        Ok(host)
    }

    /// Returns a copy of the host with its own clock.
    pub(super) fn fork(&self) -> Self {
        let (previous, traffic_probe) = (None, None);
        Self { clock: Arc::new(self.clock.fork()), previous, traffic_probe, keeps_previous: false, ..self.clone() }
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.steady_ms()
    }

    /// Advances the clock and performs all events due in that time.
    pub(super) fn advance(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.run_due_events();
    }

    pub(super) fn perform(&mut self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        if call.cancel.is_cancelled() {
            return Err(EffectError::cancelled().not_applied());
        }
        self.run_due_events();
        self.check_engine_is_up(effect)?;
        self.keep_previous(effect);
        let outcome = match call.fault {
            None => self.perform_normally(call, effect),
            Some(fault) => self.perform_with_fault(call, effect, fault),
        };
        self.run_due_events();
        outcome
    }

    /// Performs an effect without an injected fault.
    pub(super) fn perform_normally(&mut self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        if let Some(answer) = self.recorded_outcome(effect) {
            return answer;
        }
        match effect {
            Effect::Approval(effect) => self.approval(call, effect).map(Outcome::Approval),
            Effect::Container(effect) => self.container(call, effect).map(Outcome::Container),
            Effect::Image(effect) => self.image(call, effect).map(Outcome::Image),
            Effect::Volume(effect) => self.volume(call, effect).map(Outcome::Volume),
            Effect::Network(effect) => self.network(call, effect).map(Outcome::Network),
            Effect::Compose(effect) => self.compose(call, effect).map(Outcome::Compose),
            Effect::Health(effect) => self.health(call, effect).map(Outcome::Health),
            Effect::Http(effect) => self.http(call, effect).map(Outcome::Http),
            Effect::Git(effect) => self.git(effect).map(Outcome::Git),
            Effect::Sqlite(effect) => self.sqlite(call, effect).map(Outcome::Sqlite),
            Effect::Object(effect) => self.object(call, effect).map(Outcome::Object),
            Effect::Notify(effect) => self.notify(call, effect).map(Outcome::Notify),
            Effect::Exec(effect) => self.exec(call, effect).map(Outcome::Exec),
            Effect::Host(effect) => self.host(call, effect).map(Outcome::Host),
            Effect::Time(effect) => Ok(Outcome::Time(self.time(effect))),
            Effect::Lock(effect) => self.lock(call, effect).map(Outcome::Lock),
            Effect::Traffic(effect) => self.traffic(call, effect).map(Outcome::Traffic),
        }
    }

    /// Returns the recorded answer of a real host to the same read.
    fn recorded_outcome(&self, effect: &Effect) -> Option<Result<Outcome, EffectError>> {
        if self.recorded_reads.is_empty() {
            return None;
        }
        let args = effect.args();
        let found = self
            .recorded_reads
            .iter()
            .find(|recorded_outcome| recorded_outcome.kind == effect.kind() && recorded_outcome.args == args)?;
        let unreadable =
            |error| EffectError::new(ErrorKind::Internal, format!("cannot decode a recorded answer: {error}"));
        Some(Outcome::decode(effect.kind(), found.outcome.clone()).map_err(unreadable))
    }

    fn time(&mut self, effect: &TimeEffect) -> TimeOutcome {
        match effect {
            TimeEffect::Sleep(request) => {
                self.clock.advance(request.duration.0);
                TimeOutcome::Sleep(())
            }
            TimeEffect::Now(_) => {
                TimeOutcome::Now(Instant { unix_ms: self.clock.unix_ms(), text: self.clock.text(self.now()) })
            }
        }
    }
}
