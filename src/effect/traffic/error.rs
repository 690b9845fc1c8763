//! Errors about routes that every world can meet, and checks of requests, written once.

use std::fmt;

use super::{DeclareRoute, Driver, SetTargets, Target};
use crate::effect::{EffectError, ErrorKind};

/// Returns the error for a service without a route.
pub fn route_not_found(service: &str) -> EffectError {
    EffectError::not_found(format!("service `{service}` has no route on this host"))
        .hint(format!("declare it first: `traffic_route(#{{service: \"{service}\", address: \"0.0.0.0:80\"}})`"))
}

/// What not every driver can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverFeature {
    /// Holding requests.
    Hold,
    /// Mirroring requests.
    Mirror,
    /// Recent statistics.
    Statistics,
    /// Keeping a client on one target.
    Sticky,
    /// Choosing a target by header or cookie.
    Canary,
}

impl DriverFeature {
    /// Names it, to follow "cannot".
    fn action(self) -> &'static str {
        match self {
            Self::Hold => "hold requests",
            Self::Mirror => "mirror requests",
            Self::Statistics => "report recent statistics",
            Self::Sticky => "keep clients on one target (`sticky`)",
            Self::Canary => "choose a target by header or cookie (`canary`)",
        }
    }
}

/// Returns the error for something that the program behind a driver cannot do.
pub fn unsupported_by_driver(driver: &impl fmt::Display, feature: DriverFeature) -> EffectError {
    EffectError::new(ErrorKind::Unsupported, format!("the driver `{driver}` cannot {}", feature.action()))
        .hint("the driver `proxy` can: run `deployer proxy run`, and declare the route with it")
        .not_applied()
}

/// Returns the error for an address that nginx cannot use, because it is a host name; `what` names its owner.
pub fn nginx_needs_ip_address(what: &str, address: &str) -> EffectError {
    needs_ip_address(what, address, "nginx resolves host names only once")
}

/// Returns the error for a target that HAProxy cannot use, because its address is a host name.
pub fn haproxy_needs_ip_address(address: &str) -> EffectError {
    needs_ip_address("target", address, "HAProxy's socket accepts no host names")
}

fn needs_ip_address(what: &str, address: &str, why: &str) -> EffectError {
    EffectError::invalid(format!("the {what} `{address}` is not an IP address with a port: {why}"))
}

/// Returns the error for a route whose host already belongs to another `service` of nginx on this address.
pub fn nginx_host_taken(service: &str, host: Option<&str>, address: &str) -> EffectError {
    let host = host.map_or_else(|| "every host".to_owned(), |host| format!("host `{host}`"));
    EffectError::conflict(format!(
        "service `{service}` already has {host} on {address}: with nginx, services cannot share a host, not even by path"
    ))
    .hint("give each service a `host` of its own, or use the driver `proxy`, which routes by path")
}

/// Returns the error for a route whose host and path already belong to another `service` of Caddy on this address.
pub fn caddy_route_taken(service: &str, address: &str) -> EffectError {
    EffectError::conflict(format!("service `{service}` has the same host and path on {address}"))
        .hint("give each service a `host` or a `path_prefix` of its own")
}

/// Returns the error for draining the only target that gets requests; `can_hold` says whether the driver can hold them.
pub fn only_live_target(target: &str, can_hold: bool) -> EffectError {
    let fix = if can_hold { "switch or hold first" } else { "switch to another one first" };
    EffectError::conflict(format!("`{target}` is the only target that gets requests: {fix}"))
}

/// Returns the error for a change by an older run after one by a newer run.
pub fn epoch_is_older(service: &str, last: u64, epoch: u64) -> EffectError {
    EffectError::conflict(format!("`{service}` was already changed with epoch {last}; {epoch} is older"))
        .hint("a newer run controls this service: see `deployer runs`, `deployer status`")
}

/// Returns the error for a service that does not respond through its public address.
pub fn public_address_failed(service: &str, address: &impl fmt::Display, why: &str) -> EffectError {
    let message = format!("`{service}` does not respond as expected at its public address {address}: {why}");
    EffectError::new(ErrorKind::Unhealthy, message)
        .hint("see which target gets its requests: `traffic_show`, `deployer proxy status`")
}

impl DeclareRoute {
    /// Checks that the route is not driven by another program.
    ///
    /// # Errors
    /// Fails if `existing`, the driver that the route has, is of another kind.
    pub fn check_driver(&self, existing: &Driver) -> Result<(), EffectError> {
        if existing.kind() == self.driver.kind() {
            return Ok(());
        }
        let service = &self.service;
        Err(EffectError::conflict(format!("the route of `{service}` is driven by `{existing}`"))
            .hint(format!("remove it first: `traffic_forget(\"{service}\")`")))
    }
}

impl SetTargets {
    /// Checks that a target gets requests.
    ///
    /// # Errors
    /// Fails if every weight is 0.
    pub fn check_weights(&self, targets: &[Target]) -> Result<(), EffectError> {
        if targets.iter().any(|target| target.weight > 0) {
            return Ok(());
        }
        let message = format!("no target would get the requests of `{}`: every weight is 0", self.service);
        Err(EffectError::invalid(message)
            .hint("give one target a `weight` above 0, or remove the route with `traffic_forget`"))
    }
}

/// Returns the error for the target of a container that is not running.
pub fn target_not_running(container: &impl fmt::Display) -> EffectError {
    crate::effect::container::container_not_running(container, "it cannot receive requests")
}
