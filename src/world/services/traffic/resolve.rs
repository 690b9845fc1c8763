//! From what a script names to what a driver takes: containers to addresses, names to targets, and back.

use super::super::Services;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::Container;
use crate::effect::traffic::{RouteView, SetTargets, Target, TargetSpec, TargetView, Targets, target_name};
use crate::effect::{EffectError, ErrorKind};

impl Services {
    /// What the driver is told.
    pub(super) async fn step(&self, request: &SetTargets) -> Result<Targets, EffectError> {
        let mut targets = Vec::with_capacity(request.targets.len());
        for spec in &request.targets {
            targets.push(self.target(spec).await?);
        }
        if !targets.iter().any(|target| target.weight > 0) {
            let message = format!("nobody would get the requests of `{}`: every weight is 0", request.service);
            return Err(EffectError::new(ErrorKind::Invalid, message)
                .hint("give one target a `weight` above 0, or take the route away with `traffic_forget`")
                .not_applied());
        }
        Ok(Targets { targets, sticky: request.sticky, canary: request.canary.clone() })
    }

    async fn target(&self, spec: &TargetSpec) -> Result<Target, EffectError> {
        let wrong = |message: &str| EffectError::new(ErrorKind::Invalid, message).not_applied();
        match (&spec.container, &spec.address) {
            (Some(container), None) => {
                let found = self.engine.look(container).await?.ok_or_else(|| {
                    EffectError::new(ErrorKind::NotFound, format!("container `{container}` does not exist"))
                        .hint("see which there are: docker ps -a")
                        .not_applied()
                })?;
                if !found.is_running() && spec.weight > 0 {
                    let message = format!("container `{container}` is not running, so it can get no requests");
                    return Err(EffectError::new(ErrorKind::Conflict, message)
                        .hint(format!("docker start {container}"))
                        .not_applied());
                }
                let address = self.engine.endpoint(&found, spec.port).await?.to_string();
                let name = spec.name.clone().unwrap_or_else(|| target_name(&found.id).to_owned());
                Ok(Target { name, address, weight: spec.weight })
            }
            (None, Some(address)) => {
                let name = spec.name.clone().unwrap_or_else(|| address.replace(':', "-"));
                Ok(Target { name, address: address.clone(), weight: spec.weight })
            }
            (Some(_), Some(_)) => Err(wrong("a target has a `container` or an `address`, not both")),
            (None, None) => Err(wrong("a target needs a `container` or an `address`")),
        }
    }

    /// The target of that name, or the one of the container of that name.
    pub(super) async fn target_called(&self, view: &RouteView, called: &str) -> Result<String, EffectError> {
        if view.target(called).is_some() {
            return Ok(called.to_owned());
        }
        let container = self.engine.look(&ContainerRef::new(called)).await.ok().flatten();
        if let Some(found) = container.filter(|found| view.target(target_name(&found.id)).is_some()) {
            return Ok(target_name(&found.id).to_owned());
        }
        let names: Vec<String> = view.targets.iter().map(|target| format!("`{}`", target.name)).collect();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let service = &view.route.service;
        Err(EffectError::new(
            ErrorKind::NotFound,
            format!("the route of `{service}` has no target `{called}`; it has {has}"),
        )
        .hint("name it in `traffic_set` first, with weight 0 when it shall get nothing yet")
        .not_applied())
    }

    /// Whether the target is this container.
    pub(super) async fn is_at(&self, target: &TargetView, container: &Container) -> bool {
        if target.is_at(container) {
            return true;
        }
        // Where a world publishes no ports, deployer knows the container's only place.
        let place = self.engine.endpoint(container, None).await;
        place.is_ok_and(|place| place.to_string() == target.address)
    }
}
