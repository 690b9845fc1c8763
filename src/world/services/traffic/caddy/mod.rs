//! The driver `caddy`: replaces deployer's own servers in Caddy's configuration through the admin API. Knows no server
//! of the user's but that it stays as it is.

mod admin;
mod routes;

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::{Map, Value};

use super::driver::{Answer, Proof, TrafficDriver};
use super::kept_route::{KeptRoute, longest, plain_step};
use super::patience::Patience;
use crate::effect::traffic::{CaddyDriver, DrainTarget, Drained, Route, RouteView, Targets};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use admin::Admin;

/// How often a change is made again after somebody else made another one in between.
const TRIES: usize = 5;

pub(super) struct CaddyAdmin {
    admin: Admin,
    clock: Arc<dyn Clock>,
}

impl CaddyAdmin {
    pub(super) fn new(driver: &CaddyDriver, client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { admin: Admin { url: driver.admin.clone(), client }, clock }
    }

    /// Has Caddy follow what `make` makes of the route; none takes it away. Each change is a new configuration, for
    /// which Caddy ends WebSockets: what makes no difference is left out.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut make: impl FnMut(Option<KeptRoute>) -> Result<Option<KeptRoute>, EffectError> + Send,
    ) -> Result<(), EffectError> {
        let mut lost = None;
        for _ in 0..TRIES {
            let servers = self.admin.servers(call).await.map_err(EffectError::not_applied)?;
            let former = routes::find(&servers.all, service);
            let next = make(former.clone())?;
            let all = routes::with(&servers.all, service, next.as_ref())?;
            if all == servers.all {
                return Ok(());
            }
            match self.admin.replace(call, &servers, all).await {
                Ok(true) => return Ok(()),
                Ok(false) => lost = None,
                // Whether it took effect is seen at the next look.
                Err(error) if error.kind == ErrorKind::Unavailable => lost = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = lost {
            return Err(error);
        }
        Err(EffectError::new(ErrorKind::Conflict, "somebody else changes Caddy's configuration again and again")
            .hint("let one program at a time change it; then try again")
            .not_applied())
    }

    async fn view(&self, call: &Call, service: &str) -> Result<Option<RouteView>, EffectError> {
        let servers: Map<String, Value> = self.admin.servers(call).await?.all;
        let Some(kept) = routes::find(&servers, service) else { return Ok(None) };
        let upstreams = self.admin.upstreams(call).await?;
        let mut view = kept.view(|target| routes::seen(&servers, &kept, target));
        for target in &mut view.targets {
            let own = upstreams.iter().filter(|upstream| upstream["address"] == target.address);
            target.in_flight = own.filter_map(|upstream| upstream["num_requests"].as_u64()).sum();
        }
        Ok(Some(view))
    }

    /// Takes it out, and waits until Caddy counts nothing in flight to it.
    async fn drained(&self, call: &Call, request: &DrainTarget) -> Result<Drained, EffectError> {
        let mut address = String::new();
        let service = &request.service;
        let out = |kept: Option<KeptRoute>| {
            let mut kept = kept.ok_or_else(|| gone(service))?;
            kept.fence(call)?;
            address = kept.drain(&request.target)?;
            Ok(Some(kept))
        };
        self.change(call, service, out).await?;
        let patience = Patience::new(call, self.clock.as_ref(), longest(request));
        loop {
            let left = self.admin.in_flight(call, &address).await?;
            if left == 0 || !patience.pause().await? {
                return Ok(Drained { waited_ms: patience.waited_ms(), requests_cut: left, streams_cut: 0 });
            }
        }
    }
}

fn gone(service: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("Caddy has no route of service `{service}`"))
        .hint("declare it with `traffic_route`; a `caddy reload` of a Caddyfile forgets it")
        .not_applied()
}

impl TrafficDriver for CaddyAdmin {
    fn kind(&self) -> &'static str {
        "caddy"
    }

    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, anew: bool) -> Answer<'a, ()> {
        async move {
            let declared = |former: Option<KeptRoute>| {
                let next = KeptRoute::declared(call, former.clone(), route, anew)?;
                // The next step brings the epoch along; for its sake alone nobody is cut off.
                let same = former.filter(|former| (&former.route, &former.targets) == (&next.route, &next.targets));
                Ok(Some(same.unwrap_or(next)))
            };
            self.change(call, &route.service, declared).await
        }
        .boxed()
    }

    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, bool> {
        async move {
            let mut there = false;
            let taken_away = |former: Option<KeptRoute>| {
                if let Some(mut former) = former {
                    former.fence(call)?;
                    there = true;
                }
                Ok(None)
            };
            self.change(call, service, taken_away).await?;
            Ok(there)
        }
        .boxed()
    }

    fn show<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, Option<RouteView>> {
        self.view(call, service).boxed()
    }

    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> Answer<'a, ()> {
        async move {
            plain_step(self.kind(), step)?;
            let taken = |kept: Option<KeptRoute>| {
                let mut kept = kept.ok_or_else(|| gone(service))?;
                kept.fence(call)?;
                kept.take(step);
                Ok(Some(kept))
            };
            self.change(call, service, taken).await
        }
        .boxed()
    }

    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> Answer<'a, Drained> {
        self.drained(call, request).boxed()
    }

    fn proof(&self) -> Proof {
        Proof::Header
    }
}
