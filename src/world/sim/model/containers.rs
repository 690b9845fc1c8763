//! All containers of the simulated host, by name.

use std::collections::BTreeMap;

use super::container::SimContainer;
use crate::base::container_ref::ContainerRef;

/// The first host port the engine assigns by itself.
pub(crate) const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// All containers, by name.
#[derive(Clone, Debug)]
pub(crate) struct Containers {
    by_name: BTreeMap<String, SimContainer>,
    next_port: u16,
}

impl Default for Containers {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), next_port: FIRST_EPHEMERAL_PORT }
    }
}

impl Containers {
    pub(crate) fn all(&self) -> impl Iterator<Item = &SimContainer> {
        self.by_name.values()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &SimContainer> {
        self.all().filter(|container| container.is_running())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&SimContainer> {
        self.by_name.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut SimContainer> {
        self.by_name.get_mut(name)
    }

    /// Finds a container by id, by name, or by a prefix that only one id has.
    pub(crate) fn find(&self, wanted: &ContainerRef) -> Option<&SimContainer> {
        let wanted = wanted.key.trim_start_matches('/');
        if let Some(found) = self.all().find(|container| container.id == wanted).or_else(|| self.get(wanted)) {
            return Some(found);
        }
        let mut alike = self.all().filter(|container| container.id.starts_with(wanted));
        alike.next().filter(|_| alike.next().is_none())
    }

    /// Returns the running container that publishes this TCP port, and the port inside it.
    pub(crate) fn publisher(&self, port: u16) -> Option<(&SimContainer, u16)> {
        self.running().find_map(|container| container.container_port_for(port).map(|inside| (container, inside)))
    }

    /// Returns the next host port to try for a mapping without one.
    pub(crate) fn next_ephemeral_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        port
    }

    pub(crate) fn insert(&mut self, container: SimContainer) {
        self.by_name.insert(container.spec.name.clone(), container);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<SimContainer> {
        self.by_name.remove(name)
    }
}
