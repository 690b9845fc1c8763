//! What may be removed: what deployer created and no container, service, kept release or unfinished run refers to.
//! In doubt, things stay.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::service_status::{Role, roles};
use super::{Inventory, UnfinishedRun};
use crate::base::labels;
use crate::effect::container::{Container, ContainerState};
use crate::effect::image::{Image, with_tag};

/// The role label of a volume that is a lock, or a guard of one.
const LOCK_ROLE: &str = "lock";
/// The role label of a volume that is not needed after its run.
const SCRATCH_ROLE: &str = "scratch";
/// The tag under which the scripts keep the previous release.
const ROLLBACK: &str = "rollback";
/// The tag that the scripts give the live release.
const LATEST: &str = "latest";

/// What to collect.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Only what belongs to this service.
    pub service: Option<String>,
    /// Only what was created before this instant, in milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// How many old releases to keep for a rollback: stopped containers of a service, images of a repository.
    pub keep: usize,
    /// Include volumes with data.
    pub volumes: bool,
}

/// What may be removed, and what was left alone and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Garbage {
    /// What may be removed.
    pub items: Vec<Item>,
    /// The services that were left alone, with the reason.
    pub left_alone: Vec<String>,
}

/// One thing that may be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its name, for display.
    pub name: String,
    /// What the engine finds it by; of an image, the names to remove.
    pub keys: Vec<String>,
    /// The service that it belongs to.
    pub service: Option<String>,
    /// The run that created it.
    pub run: Option<String>,
    /// Why it may be removed.
    pub why: String,
    /// State of a container when it was listed.
    pub state: Option<ContainerState>,
    /// When it was created.
    pub made_at: Option<String>,
    /// The size of an image, in bytes.
    pub size: Option<u64>,
}

/// The kind of something that may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A lock.
    Lock,
}

impl Kind {
    /// Returns the word that is shown.
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
    /// Finds what may be removed.
    pub fn of(inventory: &Inventory, open: &[UnfinishedRun], terms: &Terms) -> Self {
        let busy = busy(inventory, open);
        let protected: BTreeSet<&str> = open.iter().map(|run| run.run.as_str()).collect();
        let may_go = |item: &Item| {
            let is_free = match &item.service {
                Some(service) => !busy.contains_key(service.as_str()),
                None => busy.is_empty() && open.is_empty(),
            };
            is_free
                && item.run.as_deref().is_none_or(|run| !protected.contains(run))
                && (terms.service.is_none() || item.service == terms.service)
                && terms.before_ms.is_none_or(|before_ms| made_ms(item).is_some_and(|at| at < before_ms))
        };
        let mut items = containers(inventory, terms.keep);
        items.retain(may_go);
        let gone: BTreeSet<String> = items.iter().flat_map(|item| item.keys.clone()).collect();
        items.extend(locks(inventory));
        // A network has no service, so any unfinished run may need it.
        if busy.is_empty() && open.is_empty() {
            items.extend(networks(inventory));
        }
        items.extend(images(inventory, terms.keep, &gone));
        items.extend(volumes(inventory, terms.volumes));
        items.retain(may_go);
        items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let asked = |service: &str| terms.service.as_ref().is_none_or(|only| only == service);
        let left = busy.into_iter().filter(|(service, _)| asked(service));
        Self { items, left_alone: left.map(|(service, why)| format!("`{service}`: {why}")).collect() }
    }

    /// Returns the services of all items, each once, in order: their locks are needed.
    pub fn services(&self) -> BTreeSet<&str> {
        self.items.iter().filter_map(|item| item.service.as_deref()).collect()
    }
}

fn made_ms(item: &Item) -> Option<i64> {
    item.made_at.as_deref()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// Returns the services that a run is changing or that an unfinished run may still need, with the reason.
fn busy<'a>(inventory: &'a Inventory, open: &'a [UnfinishedRun]) -> BTreeMap<&'a str, String> {
    let mut busy = BTreeMap::new();
    for run in open {
        let Some(service) = run.service.as_deref() else { continue };
        let why = run.what_to_do().unwrap_or_else(|| format!("run {} is under way", run.run));
        busy.entry(service).or_insert(why);
    }
    for lock in inventory.locks.iter().filter(|lock| !lock.is_dead()) {
        let holder = format!("process {} on `{}`", lock.holder.pid, lock.holder.host);
        busy.entry(&lock.service).or_insert(format!("run {} holds its lock ({holder})", lock.holder.run));
    }
    busy
}

fn containers(inventory: &Inventory, keep: usize) -> Vec<Item> {
    let mut by_service: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for (container, service) in inventory.own_containers() {
        by_service.entry(service).or_default().push(container);
    }
    let mut items = Vec::new();
    for (service, containers) in by_service {
        let mut roles = roles(service, &containers, false, inventory.view_of(service));
        let serves = roles.iter().any(|(role, _)| *role == Role::Live);
        // The newest come first: they are kept.
        roles.sort_by_key(|(_, container)| std::cmp::Reverse(container.created_at.clone()));
        let mut kept = 0;
        for (role, container) in roles {
            let why = match role {
                Role::LeftOver => "left by an interrupted run".to_owned(),
                Role::Old if serves && kept >= keep => "old release, stopped".to_owned(),
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

/// Returns the locks whose holder no longer exists. Acquiring and releasing such a lock removes it.
fn locks(inventory: &Inventory) -> Vec<Item> {
    let dead = inventory.locks.iter().filter(|lock| lock.is_dead());
    dead.map(|lock| Item {
        kind: Kind::Lock,
        name: lock.service.clone(),
        keys: Vec::new(),
        service: Some(lock.service.clone()),
        run: Some(lock.holder.run.to_string()),
        why: format!("process {} on `{}` no longer exists", lock.holder.pid, lock.holder.host),
        state: None,
        made_at: lock.since(),
        size: None,
    })
    .collect()
}

fn networks(inventory: &Inventory) -> Vec<Item> {
    let used = |name: &str| inventory.containers.iter().any(|container| container.networks.contains_key(name));
    let ours = inventory.networks.iter().filter(|network| network.labels.contains_key(labels::EFFECT));
    ours.filter(|network| !used(&network.name))
        .map(|network| Item {
            kind: Kind::Network,
            name: network.name.clone(),
            keys: vec![network.name.clone()],
            service: network.labels.get(labels::SERVICE).cloned(),
            run: network.labels.get(labels::RUN).cloned(),
            why: "no container uses it".into(),
            state: None,
            made_at: None,
            size: None,
        })
        .collect()
}

/// Returns the volumes that no container uses: scratch volumes, and with `data` those of services.
fn volumes(inventory: &Inventory, data: bool) -> Vec<Item> {
    let mounted = |name: &str| {
        let is_source = |mount: &String| mount.split(':').next() == Some(name);
        inventory.containers.iter().any(|container| container.mounts.iter().any(is_source))
    };
    let role = |labels: &BTreeMap<String, String>| labels.get(labels::ROLE).cloned().unwrap_or_default();
    let ours = inventory.volumes.iter().filter(|volume| volume.labels.contains_key(labels::EFFECT));
    ours.filter(|volume| role(&volume.labels) != LOCK_ROLE && !mounted(&volume.name))
        .filter(|volume| data || role(&volume.labels) == SCRATCH_ROLE)
        .map(|volume| Item {
            kind: Kind::Volume,
            name: volume.name.clone(),
            keys: vec![volume.name.clone()],
            service: volume.labels.get(labels::SERVICE).cloned(),
            run: volume.labels.get(labels::RUN).cloned(),
            why: if role(&volume.labels) == SCRATCH_ROLE {
                "scratch volume that no container uses".into()
            } else {
                "no container uses it; its data would be lost".into()
            },
            state: None,
            made_at: volume.created_at.clone(),
            size: None,
        })
        .collect()
}

/// Returns the images that deployer built here and gave all their names, except the kept ones and those that a container
/// uses which is not `gone`.
fn images(inventory: &Inventory, keep: usize, gone: &BTreeSet<String>) -> Vec<Item> {
    let staying = inventory.containers.iter().filter(|container| !gone.contains(&container.id));
    let used: BTreeSet<&str> = staying.map(|container| container.image_id.as_str()).collect();
    // The images of stopped containers are kept with them.
    let kept: BTreeSet<&str> = inventory
        .containers
        .iter()
        .filter(|container| !container.is_running() && !gone.contains(&container.id))
        .map(|container| container.image_id.as_str())
        .collect();
    let mut by_repository: BTreeMap<String, Vec<&Image>> = BTreeMap::new();
    for image in inventory.images.iter().filter(|image| image.built_by.is_some() && !used.contains(image.id.as_str())) {
        by_repository.entry(repository_of(image)).or_default().push(image);
    }
    let mut items = Vec::new();
    for (repository, mut images) in by_repository {
        let service = service_of(inventory, &repository);
        let own = |image: &Image| image.tags.iter().all(|tag| is_own_name(inventory, image, tag, &repository));
        let is_kept_name = |image: &Image| image.tags.iter().any(|tag| tag.ends_with(&format!(":{ROLLBACK}")));
        // Services may share a repository: the previous release of each is kept.
        let previous = images.iter().filter(|image| is_kept_name(image)).count();
        let held = kept.iter().filter(|id| inventory.image(id).is_some_and(|image| repository_of(image) == repository));
        let keep = if keep == 0 { 0 } else { keep.saturating_sub(held.count()).max(previous) };
        // The previous release first, then the newest; images without a name last.
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
                    true => "it has no name, and no container uses it".into(),
                    false => "old release that no container uses".into(),
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

/// Returns whether deployer gave the image this name. Names given by hand are never removed.
fn is_own_name(inventory: &Inventory, image: &Image, tag: &str, repository: &str) -> bool {
    let built_as = image.labels.get(labels::IMAGE).map(|name| with_tag(name));
    let services = inventory.own_containers().map(|(_, service)| service);
    let mut given =
        services.chain([repository]).flat_map(|name| [format!("{name}:{ROLLBACK}"), format!("{name}:{LATEST}")]);
    built_as.as_deref() == Some(tag) || given.any(|given| given == tag)
}

/// Returns the service whose containers use this repository; else the service with its name.
fn service_of(inventory: &Inventory, of: &str) -> Option<String> {
    let by_container = inventory.own_containers().find(|(container, _)| repository(&container.image) == of);
    let by_name = || inventory.own_containers().find(|(_, service)| *service == of);
    by_container.or_else(by_name).map(|(_, service)| service.to_owned())
}
