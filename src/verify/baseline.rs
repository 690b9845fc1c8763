//! The baseline: a run without a fault. All other runs are compared with its end.

use std::collections::BTreeMap;

use super::simulated_run::SimulatedRun;
use crate::base::labels;
use crate::effect::container::ContainerState;
use crate::world::sim::HostSnapshot;

/// What a container is, independent of its ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    runs: bool,
    ports: Vec<u16>,
    role: Option<String>,
}

impl Form {
    /// Returns whether it was started only to be tested.
    pub fn is_candidate(&self) -> bool {
        self.role.as_deref() == Some("candidate")
    }
}

/// The end of a good run, and its beginning.
pub struct Baseline {
    pub old: Serving,
    pub new: Serving,
    pub forms: BTreeMap<String, Form>,
    pub after: HostSnapshot,
}

/// What answers at the public address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    pub image: Option<String>,
    pub id: Option<String>,
}

impl Serving {
    fn in_snapshot(answer: Option<&crate::world::sim::ServedResponse>, snapshot: &HostSnapshot) -> Self {
        let good = answer.filter(|answer| answer.response.status < 400);
        let name = good.and_then(|answer| answer.container.as_ref());
        Self {
            image: good.and_then(|answer| answer.image.clone()),
            id: name.and_then(|name| snapshot.containers.get(name)).map(|standing| standing.id.clone()),
        }
    }

    pub fn after(run: &SimulatedRun) -> Self {
        Self::in_snapshot(run.answers.as_ref(), &run.after)
    }

    pub fn before(run: &SimulatedRun) -> Self {
        Self::in_snapshot(run.answered.as_ref(), &run.before)
    }
}

pub fn forms(snapshot: &HostSnapshot) -> BTreeMap<String, Form> {
    let form = |standing: &crate::world::sim::ContainerSnapshot| Form {
        runs: standing.state == ContainerState::Running,
        ports: standing.ports.clone(),
        role: standing.labels.get(labels::ROLE).cloned(),
    };
    snapshot.containers.iter().map(|(name, standing)| (name.clone(), form(standing))).collect()
}

impl Baseline {
    pub fn of(run: &SimulatedRun) -> Self {
        Self { old: Serving::before(run), new: Serving::after(run), forms: forms(&run.after), after: run.after.clone() }
    }
}

/// Returns a snapshot without harmless differences: networks that no run requested, such as the one that Compose creates
/// for its project and leaves.
pub fn comparable(snapshot: &HostSnapshot) -> HostSnapshot {
    let mut snapshot = snapshot.clone();
    snapshot.networks.retain(|_, labels| labels.contains_key(labels::RUN));
    snapshot
}

/// Describes the differences of two snapshots, by name.
pub fn difference(before: &HostSnapshot, after: &HostSnapshot) -> Vec<String> {
    fn keys<V: PartialEq>(
        what: &str,
        before: &BTreeMap<String, V>,
        after: &BTreeMap<String, V>,
        changed: bool,
        all: &mut Vec<String>,
    ) {
        let more = after.keys().filter(|key| !before.contains_key(*key));
        all.extend(more.map(|key| format!("{what} `{key}` is left")));
        let less = before.keys().filter(|key| !after.contains_key(*key));
        all.extend(less.map(|key| format!("{what} `{key}` is gone")));
        if changed {
            let other = before.iter().filter(|(key, value)| after.get(*key).is_some_and(|now| now != *value));
            all.extend(other.map(|(key, _)| format!("{what} `{key}` is different")));
        }
    }
    let mut all = Vec::new();
    keys("container", &before.containers, &after.containers, false, &mut all);
    for (name, was) in &before.containers {
        if let Some(is) = after.containers.get(name) {
            if was.id != is.id {
                all.push(format!("container `{name}` was replaced by another container"));
            } else if was.state != is.state {
                let state = |state: ContainerState| format!("{state:?}").to_lowercase();
                all.push(format!("container `{name}` is {}, not {}", state(is.state), state(was.state)));
            } else if was != is {
                all.push(format!("container `{name}` is not as it was"));
            }
        }
    }
    keys("image", &before.images, &after.images, true, &mut all);
    keys("volume", &before.volumes, &after.volumes, true, &mut all);
    keys("network", &before.networks, &after.networks, false, &mut all);
    keys("repository", &before.repos, &after.repos, true, &mut all);
    keys("route", &before.routes, &after.routes, true, &mut all);
    keys("lock", &before.locks, &after.locks, true, &mut all);
    all
}
