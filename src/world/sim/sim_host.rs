//! The simulated host: all its things together, and the passing of time among them. Knows nothing of futures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::approval::Person;
use super::behaviour::Page;
use super::compose::Project;
use super::containers::Containers;
use super::exec::Program;
use super::figures::Visits;
use super::git::Repo;
use super::ids::Ids;
use super::images::Images;
use super::locks::{Epochs, Locks};
use super::machine::Machine;
use super::networks::Networks;
use super::notify::Outbox;
use super::objects::Objects;
use super::scenario::{Heard, Scenario};
use super::sim_clock::SimClock;
use super::sqlite_rows::Database;
use super::traffic::Routes;
use super::visitors::Visitors;
use super::volumes::Volumes;
use crate::effect::time::{Instant, TimeEffect, TimeOutcome};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::world::Call;
use crate::world::clock::Clock;

/// Everything that is on the host.
#[derive(Clone, Debug)]
pub(super) struct SimHost {
    pub(super) clock: Arc<SimClock>,
    pub(super) ids: Ids,
    pub(super) machine: Machine,
    pub(super) images: Images,
    pub(super) containers: Containers,
    pub(super) volumes: Volumes,
    pub(super) networks: Networks,
    pub(super) projects: BTreeMap<String, Project>,
    pub(super) repos: BTreeMap<String, Repo>,
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) objects: Objects,
    pub(super) programs: BTreeMap<String, Program>,
    pub(super) outbox: Outbox,
    pub(super) locks: Locks,
    pub(super) epochs: Epochs,
    pub(super) web: BTreeMap<String, Page>,
    pub(super) answers: Arc<Vec<Heard>>,
    pub(super) visitors: Option<Visitors>,
    /// Whether the host as it was before the last change is kept, for stale answers.
    pub(super) remembers: bool,
    pub(super) former: Option<Box<SimHost>>,
    pub(super) engine_down_until: Option<u64>,
    pub(super) routes: Routes,
    pub(super) visitors_per_second: u64,
    pub(super) visits: BTreeMap<String, Visits>,
    pub(super) people: Vec<Person>,
    /// When each question was first asked.
    pub(super) asked: BTreeMap<String, u64>,
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
            web: scenario.web,
            answers: Arc::new(scenario.answers),
            visitors: None,
            remembers: false,
            former: None,
            engine_down_until: None,
            routes: scenario.routes,
            visitors_per_second: scenario.visitors_per_second,
            visits: BTreeMap::new(),
            people: scenario.people,
            asked: BTreeMap::new(),
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
        host.images.open = scenario.open;
        for (name, network) in scenario.networks {
            let id = host.ids.next();
            host.networks.0.insert(name, (id, network));
        }
        for placed in &scenario.containers {
            let mut spec = placed.spec.clone();
            // The name may belong to another image by now.
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

    /// The same host again, with a clock of its own.
    pub(super) fn fork(&self) -> Self {
        let (former, visitors) = (None, None);
        Self { clock: Arc::new(self.clock.fork()), former, visitors, remembers: false, ..self.clone() }
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.steady_ms()
    }

    /// Lets time pass, and everything happen that is due in it.
    pub(super) fn pass(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.settle();
    }

    pub(super) fn perform(&mut self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        if call.cancel.is_cancelled() {
            return Err(EffectError::new(ErrorKind::Cancelled, "cancelled").not_applied());
        }
        self.settle();
        self.engine_answers(effect)?;
        self.keep_former(effect);
        let outcome = match call.fault {
            None => self.act(call, effect),
            Some(fault) => self.struck(call, effect, fault),
        };
        self.settle();
        outcome
    }

    /// Performs an effect with which nothing else goes wrong than what the host itself brings about.
    pub(super) fn act(&mut self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        if let Some(answer) = self.heard(effect) {
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
            Effect::Host(effect) => self.ask_machine(call, effect).map(Outcome::Host),
            Effect::Time(effect) => Ok(Outcome::Time(self.time(effect))),
            Effect::Lock(effect) => self.lock(call, effect).map(Outcome::Lock),
            Effect::Traffic(effect) => self.traffic(call, effect).map(Outcome::Traffic),
        }
    }

    /// What a real host answered to the same read.
    fn heard(&self, effect: &Effect) -> Option<Result<Outcome, EffectError>> {
        if self.answers.is_empty() {
            return None;
        }
        let args = effect.args();
        let found = self.answers.iter().find(|heard| heard.kind == effect.kind() && heard.args == args)?;
        let unreadable = |error| EffectError::new(ErrorKind::Internal, format!("an answer cannot be read: {error}"));
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
