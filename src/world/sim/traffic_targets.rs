//! Targets of routes in the simulated world: from what a script names to what a driver takes, and what it refuses.
//! Knows no request.

use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::traffic::{Driver, Route, Target, TargetSpec, Targets, target_name};
use crate::effect::{EffectError, ErrorKind};

impl SimHost {
    pub(super) fn route_target(&self, spec: &TargetSpec) -> Result<Target, EffectError> {
        let wrong = |message: &str| EffectError::new(ErrorKind::Invalid, message).not_applied();
        match (&spec.container, &spec.address) {
            (Some(wanted), None) => {
                let found = self.find(wanted)?;
                if !found.is_running() && spec.weight > 0 {
                    let message = format!("container `{wanted}` is not running, so it can get no requests");
                    return Err(EffectError::new(ErrorKind::Conflict, message)
                        .hint(format!("docker start {wanted}"))
                        .not_applied());
                }
                let published =
                    found.ports.iter().find(|published| spec.port.is_none_or(|port| port == published.container_port));
                let own = self.addresses(found).into_values().next().unwrap_or_default();
                let address = match published {
                    Some(published) => format!("127.0.0.1:{}", published.host_port),
                    None => format!("{own}:{}", spec.port.unwrap_or(found.app_port())),
                };
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

    pub(super) fn target_called(&self, service: &str, called: &str) -> Result<String, EffectError> {
        let route = self.route_of(service)?;
        let id = self.containers.find(&ContainerRef::new(called)).map(|found| target_name(&found.id).to_owned());
        let named = |name: &str| route.targets.iter().any(|target| target.name == name);
        let found = Some(called.to_owned()).filter(|name| named(name)).or(id.filter(|id| named(id)));
        found.ok_or_else(|| {
            let names: Vec<String> = route.targets.iter().map(|target| format!("`{}`", target.name)).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            EffectError::new(
                ErrorKind::NotFound,
                format!("the route of `{service}` has no target `{called}`; it has {has}"),
            )
            .hint("name it in `traffic_set` first, with weight 0 when it shall get nothing yet")
            .not_applied()
        })
    }

    /// What the drivers other than the embedded proxy refuse.
    pub(super) fn plain_step(&self, driver: &Driver, step: &Targets) -> Result<(), EffectError> {
        if matches!(driver, Driver::Proxy(_)) {
            return Ok(());
        }
        if step.sticky {
            return Err(unsupported(driver, "keep visitors with one target (`sticky`)"));
        }
        if step.canary.is_some() {
            return Err(unsupported(driver, "choose a target by header or cookie (`canary`)"));
        }
        let is_name = |target: &&Target| target.address.parse::<std::net::SocketAddr>().is_err();
        match step.targets.iter().find(is_name).filter(|_| !matches!(driver, Driver::Caddy(_))) {
            None => Ok(()),
            Some(named) => {
                let message = format!("the target `{}` is not an IP address with a port", named.address);
                Err(EffectError::new(ErrorKind::Invalid, message).not_applied())
            }
        }
    }

    /// nginx takes one server block per host and address; with Caddy they need another path at least.
    pub(super) fn neighbour(&self, driver: &Driver, route: &Route) -> Result<(), EffectError> {
        let meets = |other: &Route| match driver {
            Driver::Nginx(_) => other.host == route.host,
            Driver::Caddy(_) => other.host == route.host && other.path_prefix == route.path_prefix,
            Driver::Proxy(_) | Driver::Haproxy(_) => false,
        };
        let shares = |other: &Route| {
            let mut addresses = std::iter::once(&other.address).chain(&other.also);
            addresses.any(|address| std::iter::once(&route.address).chain(&route.also).any(|own| own == address))
        };
        let mut others = self.routes.iter().filter(|(service, _)| **service != route.service);
        match others
            .find(|(_, other)| other.driver.kind() == driver.kind() && meets(&other.route) && shares(&other.route))
        {
            None => Ok(()),
            Some((service, _)) => {
                let message = format!("service `{service}` has the same host on {} already", route.address);
                Err(EffectError::new(ErrorKind::Conflict, message)
                    .hint("give each service a `host` of its own, or use the driver `proxy`, which routes by path")
                    .not_applied())
            }
        }
    }
}

pub(super) fn unsupported(driver: &Driver, what: &str) -> EffectError {
    EffectError::new(ErrorKind::Unsupported, format!("the driver `{driver}` cannot {what}"))
        .hint("the driver `proxy` can: run `deployer proxy run`, and declare the route with it")
        .not_applied()
}
