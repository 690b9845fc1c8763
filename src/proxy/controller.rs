//! Performs commands: writes the new state to disk, then puts it into effect, all or nothing. The only code that
//! changes routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex, MutexGuard};

use super::command::{Command, CommandReply, ProxyStatus, Refusal, RefusalKind};
use super::drain;
use super::hold::now_ms;
use super::limits::WINDOW;
use super::listeners::Listeners;
use super::notice::notice;
use super::predecessor::{InFlightCounts, Predecessor};
use super::route_table::RouteTable;
use super::shared::Shared;
use super::state::State;
use super::state_file::StateFile;
use super::tls::Tls;
use super::upstream::Upstream;
use super::upstream_pool::UpstreamPool;
use crate::base::duration_text::DurationText;
use crate::effect::traffic::{Released, RouteView, TargetView, TrafficStats};

/// Controls a running proxy.
pub struct Controller {
    pub shared: Arc<Shared>,
    pub tls: Option<Arc<Tls>>,
    threads: usize,
    started: Instant,
    control: Mutex<ControlState>,
    pub predecessor: Predecessor,
    warnings: SyncMutex<Vec<String>>,
}

/// The part of the proxy that only one command at a time may touch.
pub struct ControlState {
    pub state: State,
    file: StateFile,
    pub listeners: Listeners,
    /// The targets of each service.
    pools: BTreeMap<String, UpstreamPool>,
    /// Whether another process has taken over.
    pub handed_over: bool,
}

impl Controller {
    pub fn new(
        shared: Arc<Shared>,
        tls: Option<Arc<Tls>>,
        threads: usize,
        file: StateFile,
        state: State,
        listeners: Listeners,
    ) -> Self {
        let mut control =
            ControlState { state: State::default(), file, listeners, pools: BTreeMap::new(), handed_over: false };
        control.install(state, &shared, threads);
        Self {
            shared,
            tls,
            threads,
            started: Instant::now(),
            control: Mutex::new(control),
            predecessor: Predecessor::default(),
            warnings: SyncMutex::default(),
        }
    }

    /// Adds a warning that `deployer proxy status` shows until the process ends.
    pub fn warn(&self, warning: String) {
        notice(&warning);
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Locks the state against changes.
    pub async fn lock(&self) -> MutexGuard<'_, ControlState> {
        self.control.lock().await
    }

    /// Performs a command.
    ///
    /// # Errors
    /// When the command is refused; it changed nothing then.
    pub async fn perform(&self, command: &Command) -> Result<CommandReply, Refusal> {
        match command {
            Command::Show => Ok(CommandReply::Routes(self.show().await)),
            Command::Status => Ok(CommandReply::Status(Box::new(self.status().await))),
            Command::Stats { service, window } => self.stats(service, *window).await.map(CommandReply::Stats),
            Command::ReloadTls => self.reload_tls().map(|certificates| CommandReply::Reloaded { certificates }),
            Command::Upgrade { .. } => Err(Refusal::invalid("`upgrade` is not a command for the controller")),
            Command::Drain { service, target, deadline, streams_deadline, .. } => {
                self.change(command).await?;
                let upstream = self.upstream(service, target).await?;
                let deadlines = drain::Deadlines::new(deadline.0, streams_deadline.map(|deadline| deadline.0));
                drain::drain(&self.shared, service, &upstream, deadlines).await.map(CommandReply::Drained)
            }
            Command::Release { service, .. } => {
                let before = self.hold_counts(service).await;
                self.change(command).await?;
                let (waiting, turned_away) = before.unwrap_or_default();
                Ok(CommandReply::Released(Released { waiting, turned_away }))
            }
            Command::RouteRemove { .. } => self.change(command).await.map(|()| CommandReply::Removed),
            _ => {
                self.change(command).await?;
                let service = command.fence().map(|(service, _)| service.to_owned()).unwrap_or_default();
                let view = self.lock().await.view(&service);
                view.map(|view| CommandReply::Route(Box::new(view)))
                    .ok_or_else(|| Refusal::failed(format!("another command has removed the route of `{service}`")))
            }
        }
    }

    async fn change(&self, command: &Command) -> Result<(), Refusal> {
        let mut control = self.lock().await;
        if control.handed_over {
            return Err(Refusal::new(RefusalKind::HandedOver, "another process has taken over: try again"));
        }
        let next = control.state.after(command, now_ms())?;
        control.listen(&next)?;
        if let Err(error) = control.save(&next).await {
            control.close_unused_listeners();
            return Err(Refusal::failed(format!("the state cannot be written, so nothing was changed: {error}")));
        }
        let change = self.predecessor.send_change(&next);
        control.install(next, &self.shared, self.threads);
        control.listeners.begin();
        drop(control);
        self.predecessor.wait_applied(change).await;
        Ok(())
    }

    /// Applies a change of the process that took over.
    pub async fn apply_successor_state(&self, state: State) {
        let change = self.predecessor.send_change(&state);
        self.lock().await.install(state, &self.shared, self.threads);
        self.predecessor.wait_applied(change).await;
    }

    async fn hold_counts(&self, service: &str) -> Option<(u64, u64)> {
        self.lock().await.pools.get(service)?.hold_counts()
    }

    /// Returns all routes.
    pub async fn show(&self) -> Vec<RouteView> {
        let control = self.lock().await;
        control.state.services.keys().filter_map(|service| control.view(service)).collect()
    }

    async fn status(&self) -> ProxyStatus {
        let control = self.lock().await;
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or_default(),
            addresses: control.listeners.addresses().iter().map(ToString::to_string).collect(),
            routes: control.state.services.len(),
            connections: self.shared.connections(),
            warnings: self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn stats(&self, service: &str, window: DurationText) -> Result<TrafficStats, Refusal> {
        let control = self.lock().await;
        let Some(pool) = control.pools.get(service) else {
            return Err(Refusal::not_found(format!("no route for service `{service}`")));
        };
        let seconds = window.0.as_secs().clamp(1, WINDOW as u64);
        let targets = pool.upstreams().map(|upstream| (upstream.name.clone(), upstream.stats(seconds))).collect();
        Ok(TrafficStats { service: service.to_owned(), window: DurationText::secs(seconds), targets })
    }

    /// Reads the certificates again and returns how many there are.
    ///
    /// # Errors
    /// When a certificate or its key cannot be read; the previous pair stays in use.
    pub fn reload_tls(&self) -> Result<usize, Refusal> {
        let Some(tls) = &self.tls else { return Err(Refusal::invalid("this proxy was started without `--tls-dir`")) };
        let (count, errors) = tls.reload();
        if errors.is_empty() { Ok(count) } else { Err(Refusal::failed(errors.join("; "))) }
    }

    /// Records what the previous process still has in flight.
    pub async fn set_predecessor_counts(&self, counts: &InFlightCounts) {
        let control = self.lock().await;
        for (key, upstream) in control.pools.iter().flat_map(|(service, pool)| pool.keyed(service)) {
            let (requests, streams) = counts.get(&key).copied().unwrap_or_default();
            upstream.set_predecessor_counts(requests, streams);
        }
    }

    /// Returns what this process and its predecessors have in flight, by target.
    pub async fn in_flight_counts(&self) -> InFlightCounts {
        let control = self.lock().await;
        let all = control.pools.iter().flat_map(|(service, pool)| pool.keyed(service));
        all.map(|(key, upstream)| (key, (upstream.in_flight(), upstream.streams())))
            .filter(|(_, counts)| *counts != (0, 0))
            .collect()
    }

    async fn upstream(&self, service: &str, target: &str) -> Result<Arc<Upstream>, Refusal> {
        let control = self.lock().await;
        let upstream = control.pools.get(service).and_then(|pool| pool.target(target));
        upstream.ok_or_else(|| Refusal::not_found(format!("`{service}` has no target `{target}`")))
    }
}

impl ControlState {
    /// Opens the sockets that `next` needs, all or none.
    fn listen(&mut self, next: &State) -> Result<(), Refusal> {
        for address in addresses(next) {
            if let Err(error) = self.listeners.ensure(address, false) {
                self.close_unused_listeners();
                return Err(Refusal::failed(format!("cannot listen on {address}: {error}")));
            }
        }
        Ok(())
    }

    fn close_unused_listeners(&mut self) {
        self.listeners.retain(&addresses(&self.state));
    }

    async fn save(&self, next: &State) -> std::io::Result<()> {
        let (file, next) = (self.file.clone(), next.clone());
        tokio::task::spawn_blocking(move || file.save(&next)).await?
    }

    /// Puts `next` into effect.
    fn install(&mut self, next: State, shared: &Shared, threads: usize) {
        let mut released = Vec::new();
        for (name, service) in &next.services {
            let pool = self.pools.entry(name.clone()).or_insert_with(|| UpstreamPool::new(name));
            released.extend(pool.update(&next.seed, service, threads));
        }
        self.pools.retain(|name, pool| {
            let stays = next.services.contains_key(name);
            if !stays {
                released.extend(pool.clear());
            }
            stays
        });
        let services = self.pools.iter().map(|(name, pool)| (name.clone(), Arc::clone(&pool.service))).collect();
        shared.replace_table(RouteTable::new(&next, services));
        self.state = next;
        self.close_unused_listeners();
        // Released last, so that the waiting requests find the new balancer.
        for hold in released {
            hold.release();
        }
    }

    fn view(&self, service: &str) -> Option<RouteView> {
        let state = self.state.services.get(service)?;
        let pool = self.pools.get(service)?;
        let targets = state.targets.iter().filter_map(|target| {
            let upstream = pool.target(&target.name)?;
            Some(TargetView {
                name: target.name.clone(),
                address: target.address.clone(),
                weight: target.weight,
                healthy: upstream.healthy(),
                draining: state.draining.contains(&target.name),
                in_flight: upstream.in_flight(),
                streams: upstream.streams(),
                served: Some(upstream.totals().iter().sum()),
            })
        });
        Some(RouteView {
            route: state.route.clone(),
            epoch: state.epoch,
            targets: targets.collect(),
            sticky: state.sticky,
            canary: state.canary.clone(),
            mirror: state.mirror.clone(),
            held: pool.hold_counts().map(|(waiting, _)| waiting),
            hold: pool.hold_limits(),
        })
    }
}

/// Returns the public addresses of a state.
pub fn addresses(state: &State) -> Vec<SocketAddr> {
    let routes = state.services.values().map(|service| &service.route);
    let all = routes.flat_map(|route| std::iter::once(&route.address).chain(&route.also));
    all.filter_map(|address| address.parse().ok()).collect()
}
