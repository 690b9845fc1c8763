//! The driver `caddy`: replaces deployer's own servers in Caddy's configuration through the admin API. Leaves the user's
//! servers unchanged.

mod admin;
mod routes;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::driver::ProbeProof;
use super::external_driver::{ExternalDriver, NextRoute};
use super::poller::Poller;
use super::stored_route::{StoredRoute, drain_timeout};
use crate::effect::traffic::{CaddyDriver, DrainTarget, Drained, Route, RouteView};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use admin::AdminApi;

/// Most attempts of a change while other clients change the configuration.
const MAX_ATTEMPTS: usize = 5;

/// Controls Caddy through its admin API.
pub(super) struct CaddyAdminDriver {
    admin: AdminApi,
    clock: Arc<dyn Clock>,
}

impl CaddyAdminDriver {
    pub(super) fn new(driver: &CaddyDriver, client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { admin: AdminApi { url: driver.admin.clone(), client }, clock }
    }
}

impl ExternalDriver for CaddyAdminDriver {
    const KIND: &'static str = "caddy";
    const PROGRAM: &'static str = "Caddy";
    const PROOF: ProbeProof = ProbeProof::Header;
    const MISSING_ROUTE_HINT: &'static str =
        "declare it with `traffic_route`; a `caddy reload` of a Caddyfile removes it";

    /// Applies a change that makes a difference. Each one is a new configuration, for which Caddy closes WebSockets.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut next_route: impl FnMut(Option<StoredRoute>) -> NextRoute + Send,
    ) -> Result<(), EffectError> {
        let mut last_error = None;
        for _ in 0..MAX_ATTEMPTS {
            let servers = self.admin.servers(call).await.map_err(EffectError::not_applied)?;
            let previous = routes::find(&servers.all, service);
            let next = next_route(previous.clone())?;
            let all = routes::with_route(&servers.all, service, next.as_ref())?;
            if all == servers.all {
                return Ok(());
            }
            match self.admin.replace(call, &servers, all).await {
                Ok(true) => return Ok(()),
                Ok(false) => last_error = None,
                // The next attempt sees whether the change took effect.
                Err(error) if error.kind == ErrorKind::Unavailable => last_error = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = last_error {
            return Err(error);
        }
        Err(EffectError::new(ErrorKind::Conflict, "another client keeps changing Caddy's configuration")
            .hint("let only one program at a time change it, then try again")
            .not_applied())
    }

    async fn view(&self, call: &Call, service: &str) -> Result<Option<RouteView>, EffectError> {
        let servers: Map<String, Value> = self.admin.servers(call).await?.all;
        let Some(stored) = routes::find(&servers, service) else { return Ok(None) };
        let upstreams = self.admin.upstreams(call).await?;
        let mut view = stored.view(|target| routes::observe(&servers, &stored, target));
        for target in &mut view.targets {
            let matching = upstreams.iter().filter(|upstream| upstream["address"] == target.address);
            target.in_flight = matching.filter_map(|upstream| upstream["num_requests"].as_u64()).sum();
        }
        Ok(Some(view))
    }

    /// Waits until Caddy counts no request in flight to the target.
    async fn await_drained(&self, call: &Call, request: &DrainTarget, address: &str) -> Result<Drained, EffectError> {
        let poller = Poller::new(call, self.clock.as_ref(), drain_timeout(request));
        loop {
            let left = self.admin.in_flight(call, address).await?;
            if left == 0 || !poller.wait().await? {
                return Ok(Drained { waited_ms: poller.elapsed_ms(), requests_cut: left, streams_cut: 0 });
            }
        }
    }

    /// Keeps the previous route if only the epoch is new: the next change stores the epoch, and no WebSocket is closed for
    /// it now.
    fn declared(
        call: &Call,
        previous: Option<StoredRoute>,
        route: &Route,
        reset: bool,
    ) -> Result<StoredRoute, EffectError> {
        let next = StoredRoute::declared(call, previous.clone(), route, reset)?;
        let same = previous.filter(|previous| (&previous.route, &previous.targets) == (&next.route, &next.targets));
        Ok(same.unwrap_or(next))
    }
}
