//! What may go: things that deployer made and that no container, no service, no kept release and no unfinished run
//! refers to. What cannot be told for certain stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::standing::{Role, roles};
use super::{Census, OpenRun};
use crate::base::labels;
use crate::effect::container::{Container, ContainerState};
use crate::effect::image::{Image, with_tag};

/// The part of a volume that is a lock, or a guard of one.
const LOCK_ROLE: &str = "lock";
/// The part of a volume whose files nobody needs once its run is over.
const SCRATCH_ROLE: &str = "scratch";
/// The tag under which the scripts keep the release before.
const ROLLBACK: &str = "rollback";
/// The tag that the scripts give to what is live.
const LATEST: &str = "latest";

/// What is asked of the collection.
#[derive(Clone, Debug)]
pub struct Terms {
    pub service: Option<String>,
    /// Only what was made before this instant, in milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// Old releases that stay for a rollback: stopped containers of a service, images of a repository.
    pub keep: usize,
    /// Volumes with data too.
    pub volumes: bool,
}

/// What may go, and what was left out and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Garbage {
    pub items: Vec<Item>,
    pub left_alone: Vec<String>,
}

/// One thing that may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// What the engine finds it by; of an image, the names to take away.
    pub keys: Vec<String>,
    pub service: Option<String>,
    pub run: Option<String>,
    pub why: String,
    /// State of a container when it was listed.
    pub state: Option<ContainerState>,
    pub made_at: Option<String>,
    /// Bytes, of an image.
    pub size: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
    Lock,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Lock => "lock",
        }
    }
}

impl Garbage {
    /// What of this census may go.
    pub fn of(census: &Census, open: &[OpenRun], terms: &Terms) -> Self {
        let busy = busy(census, open);
        let mut items = containers(census, terms.keep);
        items.extend(locks(census));
        // Without a service nobody can tell whether a run that is not over needs it.
        if busy.is_empty() && open.is_empty() {
            items.extend(networks(census));
        }
        items.extend(images(census, terms.keep));
        items.extend(volumes(census, terms.volumes));
        items.retain(|item| match &item.service {
            Some(service) => !busy.contains_key(service.as_str()),
            None => busy.is_empty() && open.is_empty(),
        });
        let protected: BTreeSet<&str> = open.iter().map(|run| run.run.as_str()).collect();
        items.retain(|item| item.run.as_deref().is_none_or(|run| !protected.contains(run)));
        items.retain(|item| terms.service.is_none() || item.service == terms.service);
        items.retain(|item| terms.before_ms.is_none_or(|before_ms| made_ms(item).is_some_and(|at| at < before_ms)));
        items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let asked = |service: &str| terms.service.as_ref().is_none_or(|only| only == service);
        let left = busy.into_iter().filter(|(service, _)| asked(service));
        Self { items, left_alone: left.map(|(service, why)| format!("`{service}`: {why}")).collect() }
    }

    /// Services whose things go, each once, in order: their locks are needed.
    pub fn services(&self) -> BTreeSet<&str> {
        self.items.iter().filter_map(|item| item.service.as_deref()).collect()
    }
}

fn made_ms(item: &Item) -> Option<i64> {
    item.made_at.as_deref()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// Services that a run is at work on, or that an unfinished one may still need.
fn busy<'a>(census: &'a Census, open: &'a [OpenRun]) -> BTreeMap<&'a str, String> {
    let mut busy = BTreeMap::new();
    for run in open {
        let Some(service) = run.service.as_deref() else { continue };
        let why = run.what_to_do().unwrap_or_else(|| format!("run {} is under way", run.run));
        busy.entry(service).or_insert(why);
    }
    for lock in census.locks.iter().filter(|lock| !lock.is_dead()) {
        let holder = format!("process {} on `{}`", lock.holder.pid, lock.holder.host);
        busy.entry(&lock.service).or_insert(format!("run {} holds its lock ({holder})", lock.holder.run));
    }
    busy
}

fn containers(census: &Census, keep: usize) -> Vec<Item> {
    let mut by_service: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for (container, service) in census.own_containers() {
        by_service.entry(service).or_default().push(container);
    }
    let mut items = Vec::new();
    for (service, containers) in by_service {
        let mut roles = roles(service, &containers, false, census.view_of(service));
        let serves = roles.iter().any(|(role, _)| *role == Role::Live);
        // The newest come first, and so are the ones that are kept.
        roles.sort_by_key(|(_, container)| std::cmp::Reverse(container.created_at.clone()));
        let mut kept = 0;
        for (role, container) in roles {
            let why = match role {
                Role::LeftOver => "left over from a run that is gone".to_owned(),
                Role::Old if serves && kept >= keep => "an old release, stopped".to_owned(),
                Role::Old => {
                    kept += 1;
                    continue;
                }
                Role::Live | Role::Replica | Role::Warm | Role::Down | Role::Candidate => continue,
            };
            items.push(Item {
                kind: Kind::Container,
                name: container.name.clone(),
                keys: vec![container.id.clone()],
                service: Some(service.to_owned()),
                run: container.labels.get(labels::RUN).cloned(),
                why,
                state: Some(container.state),
                made_at: container.created_at.clone(),
                size: None,
            });
        }
    }
    items
}

/// Locks whose holder is gone: whoever takes such a lock and lets go of it has removed it.
fn locks(census: &Census) -> Vec<Item> {
    let dead = census.locks.iter().filter(|lock| lock.is_dead());
    dead.map(|lock| Item {
        kind: Kind::Lock,
        name: lock.service.clone(),
        keys: Vec::new(),
        service: Some(lock.service.clone()),
        run: Some(lock.holder.run.to_string()),
        why: format!("process {} on `{}` is gone", lock.holder.pid, lock.holder.host),
        state: None,
        made_at: lock.since(),
        size: None,
    })
    .collect()
}

fn networks(census: &Census) -> Vec<Item> {
    let used = |name: &str| census.containers.iter().any(|container| container.networks.contains_key(name));
    let ours = census.networks.iter().filter(|network| network.labels.contains_key(labels::EFFECT));
    ours.filter(|network| !used(&network.name))
        .map(|network| Item {
            kind: Kind::Network,
            name: network.name.clone(),
            keys: vec![network.name.clone()],
            service: network.labels.get(labels::SERVICE).cloned(),
            run: network.labels.get(labels::RUN).cloned(),
            why: "no container is on it".into(),
            state: None,
            made_at: None,
            size: None,
        })
        .collect()
}

/// Volumes that no container uses: those that were scratch, and with `data` those of services too.
fn volumes(census: &Census, data: bool) -> Vec<Item> {
    let mounted = |name: &str| {
        let is_source = |mount: &String| mount.split(':').next() == Some(name);
        census.containers.iter().any(|container| container.mounts.iter().any(is_source))
    };
    let role = |labels: &BTreeMap<String, String>| labels.get(labels::ROLE).cloned().unwrap_or_default();
    let ours = census.volumes.iter().filter(|volume| volume.labels.contains_key(labels::EFFECT));
    ours.filter(|volume| role(&volume.labels) != LOCK_ROLE && !mounted(&volume.name))
        .filter(|volume| data || role(&volume.labels) == SCRATCH_ROLE)
        .map(|volume| Item {
            kind: Kind::Volume,
            name: volume.name.clone(),
            keys: vec![volume.name.clone()],
            service: volume.labels.get(labels::SERVICE).cloned(),
            run: volume.labels.get(labels::RUN).cloned(),
            why: if role(&volume.labels) == SCRATCH_ROLE {
                "scratch that no container uses".into()
            } else {
                "no container uses it; its data would be gone".into()
            },
            state: None,
            made_at: volume.created_at.clone(),
            size: None,
        })
        .collect()
}

/// Images that deployer built here, all of whose names deployer gave, less the used and the kept ones.
fn images(census: &Census, keep: usize) -> Vec<Item> {
    let used: BTreeSet<&str> = census.containers.iter().map(|container| container.image_id.as_str()).collect();
    let mut by_repository: BTreeMap<String, Vec<&Image>> = BTreeMap::new();
    for image in census.images.iter().filter(|image| image.built_by.is_some() && !used.contains(image.id.as_str())) {
        by_repository.entry(repository_of(image)).or_default().push(image);
    }
    let mut items = Vec::new();
    for (repository, mut images) in by_repository {
        let service = service_of(census, &repository);
        let own = |image: &Image| image.tags.iter().all(|tag| is_own_name(image, tag, &repository, service.as_deref()));
        let is_kept_name = |image: &Image| image.tags.iter().any(|tag| tag.ends_with(&format!(":{ROLLBACK}")));
        // Newest first, before that the one that a rollback goes to; a release without a name is none.
        images.sort_by_key(|image| (image.tags.is_empty(), !is_kept_name(image)));
        let releases = images.iter().filter(|image| !image.tags.is_empty()).count();
        for image in images.into_iter().skip(keep.min(releases)).filter(|image| own(image)) {
            let short = image.id.trim_start_matches("sha256:").get(..12).unwrap_or(&image.id).to_owned();
            items.push(Item {
                kind: Kind::Image,
                name: image
                    .tags
                    .first()
                    .cloned()
                    .unwrap_or_else(|| format!("{short} {repository}").trim_end().to_owned()),
                keys: if image.tags.is_empty() { vec![image.id.clone()] } else { image.tags.clone() },
                service: service.clone(),
                run: image.labels.get(labels::RUN).cloned(),
                why: match image.tags.is_empty() {
                    true => "lost its name, and no container uses it".into(),
                    false => "an old release that no container uses".into(),
                },
                state: None,
                made_at: image.created_at.clone(),
                size: Some(image.size),
            });
        }
    }
    items
}

fn repository_of(image: &Image) -> String {
    repository(image.labels.get(labels::IMAGE).or_else(|| image.tags.first()).map_or("", String::as_str))
}

fn repository(name: &str) -> String {
    with_tag(name).rsplit_once(':').map_or_else(String::new, |(repository, _)| repository.to_owned())
}

/// Names that somebody gave by hand are not deployer's to take away.
fn is_own_name(image: &Image, tag: &str, repository: &str, service: Option<&str>) -> bool {
    let built_as = image.labels.get(labels::IMAGE).map(|name| with_tag(name));
    let given = [Some(repository), service].into_iter().flatten();
    let mut given = given.flat_map(|name| [format!("{name}:{ROLLBACK}"), format!("{name}:{LATEST}")]);
    built_as.as_deref() == Some(tag) || given.any(|given| given == tag)
}

/// The service whose containers come from this repository; else the one of that name.
fn service_of(census: &Census, of: &str) -> Option<String> {
    let by_container = census.own_containers().find(|(container, _)| repository(&container.image) == of);
    let by_name = || census.own_containers().find(|(_, service)| *service == of);
    by_container.or_else(by_name).map(|(_, service)| service.to_owned())
}
