//! Route targets: resolves what a script names to what a driver uses, and refuses what a driver lacks. Knows no
//! request.

use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::traffic::{
    Driver, DriverFeature, Route, Target, TargetSource, TargetSpec, Targets, caddy_route_taken,
    haproxy_needs_ip_address, nginx_host_taken, nginx_needs_ip_address, target_name, target_not_found,
    target_not_running, unsupported_by_driver,
};
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn route_target(&self, spec: &TargetSpec) -> Result<Target, EffectError> {
        match spec.source()? {
            TargetSource::Container(container) => {
                let found = self.find(container)?;
                if !found.is_running() && spec.weight > 0 {
                    return Err(target_not_running(container));
                }
                let published =
                    found.ports.iter().find(|published| spec.port.is_none_or(|port| port == published.container_port));
                let own = self.addresses(found).into_values().next().unwrap_or_default();
                let address = match published {
                    Some(published) => format!("127.0.0.1:{}", published.host_port),
                    None => format!("{own}:{}", spec.port.unwrap_or(found.app_port())),
                };
                Ok(spec.container_target(&found.id, address))
            }
            TargetSource::Address(address) => Ok(spec.address_target(address)),
        }
    }

    pub(crate) fn find_target(&self, service: &str, called: &str) -> Result<String, EffectError> {
        let route = self.route_of(service)?;
        let id = self.containers.find(&ContainerRef::new(called)).map(|found| target_name(&found.id).to_owned());
        let named = |name: &str| route.targets.iter().any(|target| target.name == name);
        let found = Some(called.to_owned()).filter(|name| named(name)).or(id.filter(|id| named(id)));
        found.ok_or_else(|| target_not_found(service, called, route.targets.iter().map(|target| target.name.as_str())))
    }

    /// Refuses what only the embedded proxy supports.
    pub(crate) fn check_driver_supports(&self, driver: &Driver, step: &Targets) -> Result<(), EffectError> {
        if matches!(driver, Driver::Proxy(_)) {
            return Ok(());
        }
        if step.sticky {
            return Err(unsupported_by_driver(driver, DriverFeature::Sticky));
        }
        if step.canary.is_some() {
            return Err(unsupported_by_driver(driver, DriverFeature::Canary));
        }
        let is_name = |target: &&Target| target.address.parse::<std::net::SocketAddr>().is_err();
        match step.targets.iter().find(is_name).filter(|_| !matches!(driver, Driver::Caddy(_))) {
            None => Ok(()),
            Some(named) if matches!(driver, Driver::Nginx(_)) => Err(nginx_needs_ip_address("target", &named.address)),
            Some(named) => Err(haproxy_needs_ip_address(&named.address)),
        }
    }

    /// Refuses a second route on the same host and address: nginx has one server block for each, and Caddy needs
    /// different paths.
    pub(crate) fn check_host_is_free(&self, driver: &Driver, route: &Route) -> Result<(), EffectError> {
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
            Some((service, _)) if matches!(driver, Driver::Nginx(_)) => {
                Err(nginx_host_taken(service, route.host.as_deref(), &route.address))
            }
            Some((service, _)) => Err(caddy_route_taken(service, &route.address)),
        }
    }
}
