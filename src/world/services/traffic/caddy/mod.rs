//! The driver `caddy`: replaces deployer's own servers in Caddy's configuration through the admin API. Knows no server
//! of the user's but that it stays as it is.

mod admin;
mod routes;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::driver::Proof;
use super::kept_driver::{KeptDriver, Next};
use super::kept_route::{KeptRoute, longest};
use super::patience::Patience;
use crate::effect::traffic::{CaddyDriver, DrainTarget, Drained, Route, RouteView};
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
}

impl KeptDriver for CaddyAdmin {
    const KIND: &'static str = "caddy";
    const PROGRAM: &'static str = "Caddy";
    const PROOF: Proof = Proof::Header;
    const GONE: &'static str = "declare it with `traffic_route`; a `caddy reload` of a Caddyfile forgets it";

    /// Each change is a new configuration, for which Caddy ends WebSockets: what makes no difference is left out.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut make: impl FnMut(Option<KeptRoute>) -> Next + Send,
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

    /// Until Caddy counts nothing in flight to it.
    async fn await_end(&self, call: &Call, request: &DrainTarget, address: &str) -> Result<Drained, EffectError> {
        let patience = Patience::new(call, self.clock.as_ref(), longest(request));
        loop {
            let left = self.admin.in_flight(call, address).await?;
            if left == 0 || !patience.pause().await? {
                return Ok(Drained { waited_ms: patience.waited_ms(), requests_cut: left, streams_cut: 0 });
            }
        }
    }

    /// The next step brings the epoch along; for its sake alone nobody is cut off.
    fn declared(call: &Call, former: Option<KeptRoute>, route: &Route, anew: bool) -> Result<KeptRoute, EffectError> {
        let next = KeptRoute::declared(call, former.clone(), route, anew)?;
        let same = former.filter(|former| (&former.route, &former.targets) == (&next.route, &next.targets));
        Ok(same.unwrap_or(next))
    }
}
