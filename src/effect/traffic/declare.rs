//! `traffic_route` and `traffic_forget`.

use serde::{Deserialize, Serialize};

use super::route::TargetCheck;
use super::show::RouteStatus;
use super::{Driver, Route, TrafficOutcome, route_status, show_route};
use crate::effect::container::Removed;
use crate::effect::request::request;
use crate::effect::{Observation, Outcome, PendingEffect, Recovery, Request, Undo};

/// `traffic_route`: declares where a service is reached and which program owns that address. The route keeps its
/// targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareRoute {
    /// The service.
    pub service: String,
    /// The public address, such as `0.0.0.0:80`.
    pub address: String,
    /// Further public addresses that answer the same, such as one with TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Only requests for this host. Default: every host that no other route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only requests below this path, in whole segments; the longest prefix wins. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// How the targets are checked.
    #[serde(default)]
    pub check: TargetCheck,
    /// The program that owns the address. Default: the proxy.
    #[serde(default)]
    pub driver: Driver,
    /// The address that is requested after each change to check the public side. Default: `http://ADDRESS` with the path
    /// of `check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Removes the targets of the route. Used by the undo of the first step.
    #[serde(default, alias = "anew", skip_serializing_if = "std::ops::Not::not")]
    pub forget_targets: bool,
}

impl DeclareRoute {
    /// Returns the route for the driver.
    pub fn route(&self) -> Route {
        Route {
            service: self.service.clone(),
            address: self.address.clone(),
            also: self.also.clone(),
            host: self.host.clone(),
            path_prefix: self.path_prefix.clone(),
            check: self.check.clone(),
        }
    }

    /// Returns the request that declares a previous route again.
    pub fn again(previous: &RouteStatus) -> Self {
        let route = previous.view.route.clone();
        Self {
            service: route.service,
            address: route.address,
            also: route.also,
            host: route.host,
            path_prefix: route.path_prefix,
            check: route.check,
            driver: previous.driver.clone(),
            probe: previous.probe.clone(),
            forget_targets: false,
        }
    }
}

request! {
    DeclareRoute {
        kind: "traffic_route",
        reply: RouteStatus,
        access: Write,
        recovery: Repeat,
        subject: |request| format!("{} on {} by {}", request.service, request.address, request.driver),
        service: |request| Some(&request.service),
        prior: |request| Some(show_route(&request.service)),
        undo: Self::undo_from,
    }
}

impl DeclareRoute {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match route_status(prior) {
            Some(previous) => Undo::by(Self::again(previous)),
            None => Undo::by(ForgetRoute { service: self.service.clone(), missing_ok: true, driver_gone: false }),
        }
    }
}

/// `traffic_forget`: removes a route. Its address does not answer any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRoute {
    /// The service.
    pub service: String,
    /// Succeeds if the route does not exist.
    #[serde(default)]
    pub missing_ok: bool,
    /// States that the driver will never be asked again: what this host recorded of the route is removed, whatever the
    /// driver has. Implies `missing_ok`.
    #[serde(default)]
    pub driver_gone: bool,
}

impl ForgetRoute {
    /// Returns the script line that forgets a route whose driver will never answer again.
    pub fn script_for_gone_driver(service: &str) -> String {
        format!("{}(\"{service}\", #{{driver_gone: true}})", Self::KIND)
    }
}

request! {
    ForgetRoute {
        kind: "traffic_forget",
        reply: Removed,
        access: Write,
        recovery: |forget| match forget.missing_ok || forget.driver_gone {
            true => Recovery::Repeat,
            false => Recovery::Observe,
        },
        subject: service,
        service: |request| Some(&request.service),
        // A driver that is gone cannot answer.
        prior: |forget| (!forget.driver_gone).then(|| show_route(&forget.service)),
        undo: Self::undo_from,
        evidence: |forget| (!forget.driver_gone).then(|| show_route(&forget.service)),
        observe: Self::observe_from,
    }
}

impl ForgetRoute {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        if self.driver_gone {
            let service = &self.service;
            return Undo::Impossible(format!(
                "the route of `{service}` was forgotten; declare it with `traffic_route`"
            ));
        }
        // Route and targets are two effects, and an undo can only be one: the targets would be lost.
        route_status(prior).map_or(Undo::Nothing, |previous| {
            let targets: Vec<String> =
                previous.view.targets.iter().map(|target| format!("{} (weight {})", target.address, target.weight)).collect();
            Undo::Impossible(format!(
                "the route of `{}` on {} was removed; declare it again with `traffic_route` and `traffic_set`; its targets were: {}",
                self.service,
                previous.view.route.address,
                targets.join(", ")
            ))
        })
    }

    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        match route_status(Some(evidence)) {
            Some(_) => Observation::NotDone,
            None => Observation::done(Outcome::Traffic(TrafficOutcome::Forget(Removed { removed: true }))),
        }
    }
}
