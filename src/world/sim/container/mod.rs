//! Effects on simulated containers. How containers start and exit by themselves is in `lifecycle`.
//!
//! Faults: a container that does not exist, is not running or is running; a taken or invalid name; a missing image; a
//! program inside that fails or takes too long; a wait that times out.

mod create;
mod exec;
mod inspect;
pub(super) mod lifecycle;
mod remove;
mod start;
mod stats;
mod stop;
mod wait;

use std::collections::BTreeMap;

use super::model::container::SimContainer;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Container, ContainerEffect, ContainerOutcome, Logs, container_not_found};
use crate::world::Call;

impl SimHost {
    pub(crate) fn container(&mut self, call: &Call, effect: &ContainerEffect) -> Result<ContainerOutcome, EffectError> {
        Ok(match effect {
            ContainerEffect::Run(request) => ContainerOutcome::Run(self.run(call, &request.0)?),
            ContainerEffect::Create(request) => {
                let name = self.create(Some(call), &request.0)?;
                ContainerOutcome::Create(self.inspect(&ContainerRef::new(name))?)
            }
            ContainerEffect::Start(request) => {
                let name = self.name_of(&request.container)?;
                if let Some(stop) = request.stop_request() {
                    self.stop_container(&stop)?;
                }
                self.start(&name)?;
                ContainerOutcome::Start(self.inspect(&request.container)?)
            }
            ContainerEffect::Stop(request) => ContainerOutcome::Stop(self.stop_container(request)?),
            ContainerEffect::Kill(request) => ContainerOutcome::Kill(self.kill(request)?),
            ContainerEffect::Remove(request) => ContainerOutcome::Remove(self.remove_container(call, request)?),
            ContainerEffect::Rename(request) => ContainerOutcome::Rename(self.rename(request)?),
            ContainerEffect::Inspect(request) => {
                let found = self.containers.find(&request.container).map(|container| self.view(container));
                if found.is_none() && !request.missing_ok {
                    return Err(container_not_found(&request.container));
                }
                ContainerOutcome::Inspect(found)
            }
            ContainerEffect::List(request) => ContainerOutcome::List(self.list(request)),
            ContainerEffect::Logs(request) => {
                let container = self.find(&request.container)?;
                ContainerOutcome::Logs(Logs { lines: container.tail(request.tail).to_vec() })
            }
            ContainerEffect::Exec(request) => ContainerOutcome::Exec(self.exec_in_container(call, request)?),
            ContainerEffect::Wait(request) => ContainerOutcome::Wait(self.wait(request)?),
            ContainerEffect::Stats(request) => ContainerOutcome::Stats(self.stats(&request.container)?),
        })
    }

    pub(crate) fn find(&self, container: &ContainerRef) -> Result<&SimContainer, EffectError> {
        self.containers.find(container).ok_or_else(|| container_not_found(container))
    }

    pub(crate) fn name_of(&self, container: &ContainerRef) -> Result<String, EffectError> {
        self.find(container).map(|container| container.name().to_owned())
    }

    pub(crate) fn view(&self, container: &SimContainer) -> Container {
        container.view(&self.clock, self.now(), self.addresses(container))
    }

    pub(crate) fn inspect(&self, container: &ContainerRef) -> Result<Container, EffectError> {
        self.find(container).map(|container| self.view(container))
    }
}

/// Returns whether all wanted labels are present. An empty wanted value matches any value.
pub(crate) fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|found| value.is_empty() || found == value))
}
