//! The driver `haproxy`: assigns targets to the servers of one backend through the runtime socket, without a reload.
//! Frontends, health checks and retries are up to the configuration. Knows no other backend.

mod runtime;
mod slots;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::driver::ProbeProof;
use super::external_driver::{ExternalDriver, NextRoute, missing_route};
use super::poller::Poller;
use super::state_file::{self, FolderLock, lock_folder, with_suffix};
use super::stored_route::{StoredRoute, drain_timeout};
use crate::effect::traffic::{DrainTarget, Drained, HaproxyDriver, RouteView};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use runtime::{RuntimeSocket, Slot};
use slots::SlotAssignment;

/// How long sessions may take to end after they were shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Controls HAProxy through its runtime socket.
pub(super) struct HaproxyRuntimeDriver {
    runtime: RuntimeSocket,
    backend: Option<String>,
    state_file: Option<PathBuf>,
    clock: Arc<dyn Clock>,
}

impl HaproxyRuntimeDriver {
    pub(super) fn new(driver: &HaproxyDriver, clock: Arc<dyn Clock>) -> Self {
        let runtime = RuntimeSocket { path: driver.socket.clone().into() };
        let state_file = driver.state_file.clone().map(PathBuf::from);
        Self { runtime, backend: driver.backend.clone(), state_file, clock }
    }

    fn backend<'a>(&'a self, service: &'a str) -> Result<&'a str, EffectError> {
        let backend = self.backend.as_deref().unwrap_or(service);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if backend.is_empty() || !backend.chars().all(plain) {
            let message = format!("`{backend}` is not a valid name for a backend of HAProxy");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        Ok(backend)
    }

    /// Returns the file of the assignment. It lasts as long as HAProxy's own state: beside the state file, or else beside
    /// the socket.
    fn assignment_file(&self, backend: &str) -> PathBuf {
        let neighbour = self.state_file.as_deref().unwrap_or(&self.runtime.path);
        with_suffix(neighbour, &format!("{backend}.deployer"))
    }

    fn read_assignment(&self, backend: &str) -> Result<Option<SlotAssignment>, EffectError> {
        let file = self.assignment_file(backend);
        let Some(text) = state_file::read(&file)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|why| {
            EffectError::new(ErrorKind::Failed, format!("cannot parse `{}`: {why}", file.display()))
                .hint("remove the file, and declare the route again")
                .not_applied()
        })
    }

    async fn slots(&self, call: &Call, backend: &str) -> Result<Vec<Slot>, EffectError> {
        let slots = self.runtime.slots(call, self.clock.as_ref(), backend).await?;
        if slots.is_empty() {
            let message = format!("the backend `{backend}` of HAProxy has no servers for targets");
            return Err(EffectError::new(ErrorKind::NotFound, message)
                .hint("add a `server-template` line to it, as in examples/haproxy/haproxy.cfg")
                .not_applied());
        }
        Ok(slots)
    }

    /// Returns the stored route without targets, which disables all servers.
    fn without_targets(&self, service: &str) -> Result<StoredRoute, EffectError> {
        let known = self.read_assignment(self.backend(service)?)?.map(|assignment| assignment.stored);
        known.map(|stored| StoredRoute { targets: Vec::new(), ..stored }).ok_or_else(|| missing_route::<Self>(service))
    }

    /// Writes the state file that HAProxy reads on a start or reload.
    async fn save_state(&self, call: &Call, lock: &FolderLock) -> Result<(), EffectError> {
        let Some(file) = &self.state_file else { return Ok(()) };
        let state = self.runtime.send(call, self.clock.as_ref(), "show servers state").await?;
        lock.write(file, state.trim_start()).await
    }

    async fn in_flight(&self, call: &Call, backend: &str, slot: &str) -> Result<u64, EffectError> {
        let slots = self.slots(call, backend).await?;
        Ok(slots.iter().find(|found| found.name == slot).map_or(0, |found| found.in_flight))
    }
}

async fn write_assignment(lock: &FolderLock, file: &Path, assignment: &SlotAssignment) -> Result<(), EffectError> {
    let text = serde_json::to_string(assignment).map_err(|why| {
        EffectError::new(ErrorKind::Internal, format!("cannot serialize the route: {why}")).not_applied()
    })?;
    lock.write(file, &text).await.map_err(EffectError::not_applied)
}

impl ExternalDriver for HaproxyRuntimeDriver {
    const KIND: &'static str = "haproxy";
    const PROGRAM: &'static str = "HAProxy";
    const PROOF: ProbeProof = ProbeProof::Counts;

    /// Writes the assignment first, so that it is known after a crash.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut next_route: impl FnMut(Option<StoredRoute>) -> NextRoute + Send,
    ) -> Result<(), EffectError> {
        let backend = self.backend(service)?;
        let file = self.assignment_file(backend);
        let lock = lock_folder(call, self.clock.as_ref(), &file).await?;
        let previous = self.read_assignment(backend)?;
        if let Some(other) = previous.as_ref().filter(|previous| previous.stored.route.service != service) {
            let message = format!("the backend `{backend}` belongs to service `{}`", other.stored.route.service);
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint("set `backend` to another one")
                .not_applied());
        }
        let (stored, slots) =
            previous.map_or_else(Default::default, |previous| (Some(previous.stored), previous.slots));
        let is_new = stored.is_none();
        let next = next_route(stored)?.map(|stored| SlotAssignment { stored, slots });
        if is_new && next.is_none() {
            return Ok(());
        }
        let current = self.slots(call, backend).await.map_err(EffectError::not_applied)?;
        let is_removed = next.is_none();
        let mut next = match next {
            Some(next) => next,
            None => SlotAssignment { stored: self.without_targets(service)?, slots: BTreeMap::new() },
        };
        next.assign(backend, &current)?;
        let commands = next.commands(backend, &current)?;
        if !is_removed {
            write_assignment(&lock, &file, &next).await?;
        }
        let output = self.runtime.send_all(call, self.clock.as_ref(), &commands).await?;
        let now = self.slots(call, backend).await?;
        if let Some(target) = next.stored.targets.iter().find(|target| {
            let observed = next.observe(target, &now);
            (observed.address.as_str(), observed.weight, observed.draining)
                != (&target.address, target.weight, target.draining)
        }) {
            let message = format!("HAProxy did not accept the target `{}`", target.name);
            return Err(EffectError::new(ErrorKind::Failed, message)
                .hint("the socket needs `level admin`")
                .detail(output.trim()));
        }
        self.save_state(call, &lock).await?;
        if is_removed {
            lock.remove(&file).await?;
        }
        Ok(())
    }

    async fn view(&self, call: &Call, service: &str) -> Result<Option<RouteView>, EffectError> {
        let backend = self.backend(service)?;
        let assignment = self.read_assignment(backend)?.filter(|assignment| assignment.stored.route.service == service);
        let Some(assignment) = assignment else { return Ok(None) };
        let slots = self.slots(call, backend).await?;
        Ok(Some(assignment.stored.view(|target| assignment.observe(target, &slots))))
    }

    /// Waits until the target has no session. After the timeout, shuts down the rest.
    async fn await_drained(&self, call: &Call, request: &DrainTarget, _: &str) -> Result<Drained, EffectError> {
        let service = &request.service;
        let backend = self.backend(service)?;
        let slot = self.read_assignment(backend)?.and_then(|assignment| assignment.slots.get(&request.target).cloned());
        let slot = slot.ok_or_else(|| missing_route::<Self>(service))?;
        let poller = Poller::new(call, self.clock.as_ref(), drain_timeout(request));
        let mut left = self.in_flight(call, backend, &slot).await?;
        while left > 0 && poller.wait().await? {
            left = self.in_flight(call, backend, &slot).await?;
        }
        let cut = left;
        if cut > 0 {
            let command = format!("shutdown sessions server {backend}/{slot}");
            self.runtime.send(call, self.clock.as_ref(), &command).await?;
            let poller = Poller::new(call, self.clock.as_ref(), SHUTDOWN_TIMEOUT);
            while self.in_flight(call, backend, &slot).await? > 0 && poller.wait().await? {}
        }
        Ok(Drained { waited_ms: poller.elapsed_ms(), requests_cut: cut, streams_cut: 0 })
    }

    /// Fails if a reload would lose addresses: HAProxy keeps them only for servers with a host name in the configuration.
    async fn check_ready(&self, call: &Call, service: &str) -> Result<(), EffectError> {
        let backend = self.backend(service)?;
        let slots = self.slots(call, backend).await.map_err(EffectError::not_applied)?;
        if self.state_file.is_none() || slots.iter().all(|slot| slot.has_host_name) {
            return Ok(());
        }
        let message = format!("a reload of HAProxy would lose the addresses of the targets of backend `{backend}`");
        Err(EffectError::new(ErrorKind::Conflict, message)
            .hint(
                "give its servers a host name and `init-addr last,127.0.0.1`: `server-template slot 1-8 free.invalid:1 ...`",
            )
            .not_applied())
    }
}
