//! Performs commands: the state first on disk, then at work, all or nothing. The one place that changes routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex;

use super::command::{Command, Refusal, RefusalKind, Reply, Status};
use super::drain;
use super::hold::now_ms;
use super::limits::WINDOW;
use super::listeners::Listeners;
use super::notice::notice;
use super::predecessor::Predecessor;
use super::shared::Shared;
use super::staff::Staff;
use super::state::State;
use super::state_file::StateFile;
use super::table::Table;
use super::tls::Tls;
use crate::base::duration_text::DurationText;
use crate::effect::traffic::{Released, RouteView, TargetView, TrafficStats};

/// The wheel of a running proxy.
pub struct Steering {
    pub shared: Arc<Shared>,
    pub tls: Option<Arc<Tls>>,
    threads: usize,
    started: Instant,
    wheel: Mutex<Wheel>,
    pub predecessor: Predecessor,
    warnings: SyncMutex<Vec<String>>,
}

/// What only one command at a time may touch.
pub struct Wheel {
    pub state: State,
    file: StateFile,
    pub listeners: Listeners,
    /// One for each service.
    staff: BTreeMap<String, Staff>,
    pub handed_over: bool,
}

impl Steering {
    pub fn new(
        shared: Arc<Shared>,
        tls: Option<Arc<Tls>>,
        threads: usize,
        file: StateFile,
        state: State,
        listeners: Listeners,
    ) -> Self {
        let mut wheel = Wheel { state: State::default(), file, listeners, staff: BTreeMap::new(), handed_over: false };
        wheel.install(state, &shared, threads);
        Self {
            shared,
            tls,
            threads,
            started: Instant::now(),
            wheel: Mutex::new(wheel),
            predecessor: Predecessor::default(),
            warnings: SyncMutex::default(),
        }
    }

    /// Something that a person should know until it is mended.
    pub fn warn(&self, warning: String) {
        notice(&warning);
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Nothing changes while this is held.
    pub async fn wheel(&self) -> tokio::sync::MutexGuard<'_, Wheel> {
        self.wheel.lock().await
    }

    /// # Errors
    /// When it is refused; nothing was changed then.
    pub async fn perform(&self, command: &Command) -> Result<Reply, Refusal> {
        match command {
            Command::Show => Ok(Reply::Routes(self.show().await)),
            Command::Status => Ok(Reply::Status(Box::new(self.status().await))),
            Command::Stats { service, window } => self.stats(service, *window).await.map(Reply::Stats),
            Command::ReloadTls => self.reload_tls().map(|certificates| Reply::Reloaded { certificates }),
            Command::Upgrade { .. } => Err(Refusal::invalid("`upgrade` is for the process that runs this")),
            Command::Drain { service, target, .. } => {
                self.change(command).await?;
                let drained = drain::drain(self, command, service, target).await?;
                Ok(Reply::Drained(drained))
            }
            Command::Release { service, .. } => {
                let before = self.held(service).await;
                self.change(command).await?;
                let (waiting, turned_away) = before.unwrap_or_default();
                Ok(Reply::Released(Released { waiting, turned_away }))
            }
            Command::RouteRemove { .. } => self.change(command).await.map(|()| Reply::Removed),
            _ => {
                self.change(command).await?;
                let service = command.fence().map(|(service, _)| service.to_owned()).unwrap_or_default();
                let view = self.wheel.lock().await.view(&service);
                view.map(|view| Reply::Route(Box::new(view)))
                    .ok_or_else(|| Refusal::failed(format!("`{service}` was changed by somebody else since")))
            }
        }
    }

    async fn change(&self, command: &Command) -> Result<(), Refusal> {
        let mut wheel = self.wheel.lock().await;
        if wheel.handed_over {
            return Err(Refusal::new(RefusalKind::HandedOver, "another process has taken over: ask again"));
        }
        let next = wheel.state.after(command, now_ms())?;
        wheel.listen(&next)?;
        if let Err(error) = wheel.save(&next).await {
            let wanted = addresses(&wheel.state);
            wheel.listeners.retain(&wanted);
            return Err(Refusal::failed(format!("the state cannot be written, so nothing was changed: {error}")));
        }
        let told = self.predecessor.tell(&next);
        wheel.install(next, &self.shared, self.threads);
        wheel.listeners.begin();
        drop(wheel);
        self.predecessor.follows(told).await;
        Ok(())
    }

    /// Does as the process that took over.
    pub async fn follow(&self, state: State) {
        let told = self.predecessor.tell(&state);
        self.wheel.lock().await.install(state, &self.shared, self.threads);
        self.predecessor.follows(told).await;
    }

    async fn held(&self, service: &str) -> Option<(u64, u64)> {
        self.wheel.lock().await.staff.get(service)?.held()
    }

    pub async fn show(&self) -> Vec<RouteView> {
        let wheel = self.wheel.lock().await;
        wheel.state.services.keys().filter_map(|service| wheel.view(service)).collect()
    }

    async fn status(&self) -> Status {
        let wheel = self.wheel.lock().await;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or_default(),
            addresses: wheel.listeners.addresses().iter().map(ToString::to_string).collect(),
            routes: wheel.state.services.len(),
            connections: self.shared.connections(),
            warnings: self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn stats(&self, service: &str, window: DurationText) -> Result<TrafficStats, Refusal> {
        let wheel = self.wheel.lock().await;
        let Some(staff) = wheel.staff.get(service) else {
            return Err(Refusal::not_found(format!("no route for service `{service}`")));
        };
        let seconds = window.0.as_secs().clamp(1, WINDOW as u64);
        let targets = staff.upstreams().map(|upstream| (upstream.name.clone(), upstream.stats(seconds))).collect();
        Ok(TrafficStats { service: service.to_owned(), window: DurationText::secs(seconds), targets })
    }

    /// # Errors
    /// When a pair cannot be read; the old one stays in use.
    pub fn reload_tls(&self) -> Result<usize, Refusal> {
        let Some(tls) = &self.tls else { return Err(Refusal::invalid("this proxy was started without `--tls-dir`")) };
        let (count, faults) = tls.reload();
        if faults.is_empty() { Ok(count) } else { Err(Refusal::failed(faults.join("; "))) }
    }

    /// What the process before this one has still in flight.
    pub async fn set_elsewhere(&self, report: &BTreeMap<String, (u64, u64)>) {
        for upstream in self.wheel.lock().await.staff.iter().flat_map(|(service, staff)| staff.keyed(service)) {
            let (in_flight, streams) = report.get(&upstream.0).copied().unwrap_or_default();
            upstream.1.set_elsewhere(in_flight, streams);
        }
    }

    /// What this process has in flight, and those before it.
    pub async fn here(&self) -> BTreeMap<String, (u64, u64)> {
        let wheel = self.wheel.lock().await;
        let all = wheel.staff.iter().flat_map(|(service, staff)| staff.keyed(service));
        all.map(|(key, upstream)| (key, (upstream.in_flight(), upstream.streams())))
            .filter(|(_, counts)| *counts != (0, 0))
            .collect()
    }

    pub async fn drained(&self, service: &str, target: &str) -> Result<Arc<super::upstream::Upstream>, Refusal> {
        let wheel = self.wheel.lock().await;
        let found = wheel.staff.get(service).and_then(|staff| staff.target(target));
        found.ok_or_else(|| Refusal::not_found(format!("`{service}` has no target `{target}`")))
    }
}

impl Wheel {
    /// Opens the sockets that `next` needs; all or none.
    fn listen(&mut self, next: &State) -> Result<(), Refusal> {
        for address in addresses(next) {
            if let Err(error) = self.listeners.ensure(address, false) {
                let wanted = addresses(&self.state);
                self.listeners.retain(&wanted);
                return Err(Refusal::failed(format!("{address} cannot be listened on: {error}")));
            }
        }
        Ok(())
    }

    async fn save(&self, next: &State) -> std::io::Result<()> {
        let (file, next) = (self.file.clone(), next.clone());
        tokio::task::spawn_blocking(move || file.save(&next)).await?
    }

    fn install(&mut self, next: State, shared: &Shared, threads: usize) {
        let mut released = Vec::new();
        for (name, own) in &next.services {
            let staff = self.staff.entry(name.clone()).or_insert_with(|| Staff::new(name));
            released.extend(staff.follow(&next.seed, own, threads));
        }
        self.staff.retain(|name, staff| {
            let stays = next.services.contains_key(name);
            if !stays {
                released.extend(staff.dismiss());
            }
            stays
        });
        let services = self.staff.iter().map(|(name, staff)| (name.clone(), Arc::clone(&staff.service))).collect();
        shared.exchange_table(Table::new(&next, services));
        self.listeners.retain(&addresses(&next));
        self.state = next;
        // Whoever waited finds the new plan.
        for hold in released {
            hold.release();
        }
    }

    fn view(&self, service: &str) -> Option<RouteView> {
        let own = self.state.services.get(service)?;
        let staff = self.staff.get(service)?;
        let targets = own.targets.iter().filter_map(|target| {
            let upstream = staff.target(&target.name)?;
            Some(TargetView {
                name: target.name.clone(),
                address: target.address.clone(),
                weight: target.weight,
                healthy: upstream.healthy(),
                draining: own.draining.contains(&target.name),
                in_flight: upstream.in_flight(),
                streams: upstream.streams(),
                served: Some(upstream.totals().iter().sum()),
            })
        });
        Some(RouteView {
            route: own.route.clone(),
            epoch: own.epoch,
            targets: targets.collect(),
            sticky: own.sticky,
            canary: own.canary.clone(),
            mirror: own.mirror.clone(),
            held: staff.held().map(|(waiting, _)| waiting),
        })
    }
}

/// The public addresses of a state.
pub fn addresses(state: &State) -> Vec<SocketAddr> {
    let routes = state.services.values().map(|own| &own.route);
    let all = routes.flat_map(|route| std::iter::once(&route.address).chain(&route.also));
    all.filter_map(|address| address.parse().ok()).collect()
}
