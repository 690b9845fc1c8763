//! Resolves what a script names to what a driver takes: containers to addresses, names to targets, and back.

use std::sync::Arc;

use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Container, container_not_found};
use crate::effect::traffic::{
    RouteView, SetTargets, Target, TargetSource, TargetSpec, TargetView, Targets, target_name, target_not_found,
    target_not_running,
};
use crate::world::engine::Engine;

/// Resolves targets by the engine's containers.
pub(super) struct TargetResolver {
    engine: Arc<dyn Engine>,
}

impl TargetResolver {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Returns the targets of a request as the driver takes them.
    pub(super) async fn resolve(&self, request: &SetTargets) -> Result<Targets, EffectError> {
        let mut targets = Vec::with_capacity(request.targets.len());
        for spec in &request.targets {
            targets.push(self.target(spec).await?);
        }
        request.check_weights(&targets)?;
        Ok(Targets { targets, sticky: request.sticky, canary: request.canary.clone() })
    }

    async fn target(&self, spec: &TargetSpec) -> Result<Target, EffectError> {
        match spec.source()? {
            TargetSource::Container(container) => {
                let found = self.engine.find_container(container).await?;
                let found = found.ok_or_else(|| container_not_found(container))?;
                if !found.is_running() && spec.weight > 0 {
                    return Err(target_not_running(container));
                }
                let address = self.engine.endpoint(&found, spec.port).await?.to_string();
                Ok(spec.container_target(&found.id, address))
            }
            TargetSource::Address(address) => Ok(spec.address_target(address)),
        }
    }

    /// Returns the name of the target that has this name, or that is the container of this name.
    pub(super) async fn target_name(&self, view: &RouteView, name: &str) -> Result<String, EffectError> {
        if view.target(name).is_some() {
            return Ok(name.to_owned());
        }
        let container = self.engine.find_container(&ContainerRef::new(name)).await.ok().flatten();
        if let Some(found) = container.filter(|found| view.target(target_name(&found.id)).is_some()) {
            return Ok(target_name(&found.id).to_owned());
        }
        let existing = view.targets.iter().map(|target| target.name.as_str());
        Err(target_not_found(&view.route.service, name, existing))
    }

    /// Returns whether one of the route's targets is this container.
    pub(super) async fn refers_to(&self, view: &RouteView, container: &Container) -> bool {
        for target in &view.targets {
            if self.is_container(target, container).await {
                return true;
            }
        }
        false
    }

    async fn is_container(&self, target: &TargetView, container: &Container) -> bool {
        if target.is_at(container) {
            return true;
        }
        if !container.is_running() {
            return false;
        }
        // In a world that publishes no ports, the engine knows the container's only address.
        let address = self.engine.endpoint(container, None).await;
        address.is_ok_and(|address| address.to_string() == target.address)
    }
}
