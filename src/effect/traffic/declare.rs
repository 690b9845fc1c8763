//! `traffic_route` and `traffic_forget`.

use serde::{Deserialize, Serialize};

use super::change::RouteChange;
use super::look::{ShowRoute, Standing};
use super::route::TargetCheck;
use super::{Driver, Route, standing};
use crate::effect::container::Removed;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, Undo};

/// `traffic_route`: declares where a service is reached and which program owns that address. Targets that the route
/// has stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareRoute {
    pub service: String,
    /// The public address, such as `0.0.0.0:80`.
    pub address: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    #[serde(default)]
    pub check: TargetCheck,
    #[serde(default)]
    pub driver: Driver,
    /// Where the public side is asked after each change. Default: `http://ADDRESS` with the path of `check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Forgets the targets that it has: what the undo of the first step asks for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub anew: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(truth: &bool) -> bool {
    !truth
}

impl DeclareRoute {
    /// What the driver is told.
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

    /// Asks for the route as it was.
    pub fn again(former: &Standing) -> Self {
        let route = former.view.route.clone();
        Self {
            service: route.service,
            address: route.address,
            also: route.also,
            host: route.host,
            path_prefix: route.path_prefix,
            check: route.check,
            driver: former.driver.clone(),
            probe: former.probe.clone(),
            anew: false,
        }
    }
}

impl RouteChange for DeclareRoute {
    fn of(&self) -> &str {
        &self.service
    }

    fn taken_back(&self, former: Option<&Standing>) -> Undo {
        match former {
            Some(former) => Undo::by(Self::again(former)),
            None => Undo::by(ForgetRoute { service: self.service.clone(), missing_ok: true, driver_gone: false }),
        }
    }

    fn about(&self) -> String {
        format!("{} on {} by {}", self.service, self.address, self.driver)
    }
}

impl Request for DeclareRoute {
    const KIND: &'static str = "traffic_route";
    type Reply = Standing;
}

/// `traffic_forget`: takes a route away; nobody answers at its address any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRoute {
    pub service: String,
    #[serde(default)]
    pub missing_ok: bool,
    /// Nobody will ask the driver again: what this host notes of the route goes, whatever the driver says. Includes
    /// `missing_ok`.
    #[serde(default)]
    pub driver_gone: bool,
}

impl ForgetRoute {
    /// What to type where the driver of a route will never answer again.
    pub fn of_gone_driver(service: &str) -> String {
        format!("{}(\"{service}\", #{{driver_gone: true}})", Self::KIND)
    }
}

impl Facts for ForgetRoute {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        if self.missing_ok || self.driver_gone { Recovery::Repeat } else { Recovery::Observe }
    }

    fn prior(&self) -> Option<Effect> {
        // Whoever is gone tells nothing.
        (!self.driver_gone).then(|| ShowRoute { service: self.service.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        if self.driver_gone {
            let service = &self.service;
            return Undo::Impossible(format!(
                "the route of `{service}` was forgotten; declare it with `traffic_route`"
            ));
        }
        // Route and targets are two effects; the targets would be lost.
        standing(prior).map_or(Undo::Nothing, |former| {
            let targets: Vec<String> =
                former.view.targets.iter().map(|target| format!("{} (weight {})", target.address, target.weight)).collect();
            Undo::Impossible(format!(
                "the route of `{}` on {} was taken away; declare it again with `traffic_route` and `traffic_set`; its targets were: {}",
                self.service,
                former.view.route.address,
                targets.join(", ")
            ))
        })
    }

    fn evidence(&self) -> Option<Effect> {
        self.prior()
    }

    fn verdict(&self, _: crate::effect::Trace<'_>, evidence: &Outcome) -> crate::effect::Verdict {
        match standing(Some(evidence)) {
            Some(_) => crate::effect::Verdict::Not,
            None => crate::effect::Verdict::happened(Outcome::Traffic(super::TrafficOutcome::Forget(Removed {
                removed: true,
            }))),
        }
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for ForgetRoute {
    const KIND: &'static str = "traffic_forget";
    type Reply = Removed;
}
