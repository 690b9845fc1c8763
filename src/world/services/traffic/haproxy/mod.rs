//! The driver `haproxy`: puts targets into the servers of one backend through the runtime socket, without a reload.
//! Frontends, checks and retries are the configuration's. Knows no other backend.

mod runtime;
mod slots;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::driver::Proof;
use super::kept_driver::{KeptDriver, Next, gone};
use super::kept_file::{self, FolderLock, beside, lock_folder};
use super::kept_route::{KeptRoute, longest};
use super::patience::Patience;
use crate::effect::traffic::{DrainTarget, Drained, HaproxyDriver, RouteView};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use runtime::{Runtime, Slot};
use slots::Placed;

/// Until sessions that were shut down are gone.
const CUT_PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct HaproxyRuntime {
    runtime: Runtime,
    backend: Option<String>,
    state_file: Option<PathBuf>,
    clock: Arc<dyn Clock>,
}

impl HaproxyRuntime {
    pub(super) fn new(driver: &HaproxyDriver, clock: Arc<dyn Clock>) -> Self {
        let runtime = Runtime { socket: driver.socket.clone().into() };
        let state_file = driver.state_file.clone().map(PathBuf::from);
        Self { runtime, backend: driver.backend.clone(), state_file, clock }
    }

    fn backend<'a>(&'a self, service: &'a str) -> Result<&'a str, EffectError> {
        let backend = self.backend.as_deref().unwrap_or(service);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if backend.is_empty() || !backend.chars().all(plain) {
            let message = format!("`{backend}` cannot be the name of a backend of HAProxy");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        Ok(backend)
    }

    /// Lasts as long as what HAProxy keeps: beside the state file, else beside the socket.
    fn file(&self, backend: &str) -> PathBuf {
        let beside_what = self.state_file.as_deref().unwrap_or(&self.runtime.socket);
        beside(beside_what, &format!("{backend}.deployer"))
    }

    fn read(&self, backend: &str) -> Result<Option<Placed>, EffectError> {
        let file = self.file(backend);
        let Some(text) = kept_file::read(&file)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|why| {
            EffectError::new(ErrorKind::Failed, format!("`{}` is not understood: {why}", file.display()))
                .hint("remove it, and declare the route again")
                .not_applied()
        })
    }

    async fn slots(&self, call: &Call, backend: &str) -> Result<Vec<Slot>, EffectError> {
        let slots = self.runtime.slots(call, self.clock.as_ref(), backend).await?;
        if slots.is_empty() {
            let message = format!("the backend `{backend}` of HAProxy has no servers to put targets into");
            return Err(EffectError::new(ErrorKind::NotFound, message)
                .hint("give it a line `server-template`, as in examples/haproxy/haproxy.cfg")
                .not_applied());
        }
        Ok(slots)
    }

    /// A route without targets: all servers are put away.
    fn nobody(&self, service: &str) -> Result<KeptRoute, EffectError> {
        let known = self.read(self.backend(service)?)?.map(|placed| placed.kept);
        known.map(|kept| KeptRoute { targets: Vec::new(), ..kept }).ok_or_else(|| gone::<Self>(service))
    }

    /// Writes what HAProxy reads when it is started or reloaded.
    async fn save(&self, call: &Call, lock: &FolderLock) -> Result<(), EffectError> {
        let Some(file) = &self.state_file else { return Ok(()) };
        let state = self.runtime.ask(call, self.clock.as_ref(), "show servers state").await?;
        lock.write(file, state.trim_start()).await
    }

    async fn in_flight(&self, call: &Call, backend: &str, slot: &str) -> Result<u64, EffectError> {
        let slots = self.slots(call, backend).await?;
        Ok(slots.iter().find(|found| found.name == slot).map_or(0, |found| found.in_flight))
    }
}

async fn write(lock: &FolderLock, file: &Path, placed: &Placed) -> Result<(), EffectError> {
    let text = serde_json::to_string(placed).map_err(|why| {
        EffectError::new(ErrorKind::Internal, format!("the route cannot be kept: {why}")).not_applied()
    })?;
    lock.write(file, &text).await.map_err(EffectError::not_applied)
}

impl KeptDriver for HaproxyRuntime {
    const KIND: &'static str = "haproxy";
    const PROGRAM: &'static str = "HAProxy";
    const PROOF: Proof = Proof::Counts;

    /// Written down first, so that whoever comes after a crash knows who is where.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut make: impl FnMut(Option<KeptRoute>) -> Next + Send,
    ) -> Result<(), EffectError> {
        let backend = self.backend(service)?;
        let file = self.file(backend);
        let lock = lock_folder(call, self.clock.as_ref(), &file).await?;
        let former = self.read(backend)?;
        if let Some(other) = former.as_ref().filter(|former| former.kept.route.service != service) {
            let message = format!("the backend `{backend}` belongs to service `{}`", other.kept.route.service);
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint("name another one with `backend`")
                .not_applied());
        }
        let (kept, slots) = former.map_or_else(Default::default, |former| (Some(former.kept), former.slots));
        let is_new = kept.is_none();
        let next = make(kept)?.map(|kept| Placed { kept, slots });
        if is_new && next.is_none() {
            return Ok(());
        }
        let there = self.slots(call, backend).await.map_err(EffectError::not_applied)?;
        let stays = next.is_some();
        let mut next = match next {
            Some(next) => next,
            None => Placed { kept: self.nobody(service)?, slots: BTreeMap::new() },
        };
        next.place(backend, &there)?;
        let commands = next.commands(backend, &there)?;
        if stays {
            write(&lock, &file, &next).await?;
        }
        let said = self.runtime.tell(call, self.clock.as_ref(), &commands).await?;
        let now = self.slots(call, backend).await?;
        if let Some(target) = next.kept.targets.iter().find(|target| {
            let seen = next.seen(target, &now);
            (seen.address.as_str(), seen.weight, seen.draining) != (&target.address, target.weight, target.draining)
        }) {
            let message = format!("HAProxy did not take the target `{}`", target.name);
            return Err(EffectError::new(ErrorKind::Failed, message)
                .hint("the socket needs `level admin`")
                .detail(said.trim()));
        }
        self.save(call, &lock).await?;
        if !stays {
            lock.remove(&file).await?;
        }
        Ok(())
    }

    async fn view(&self, call: &Call, service: &str) -> Result<Option<RouteView>, EffectError> {
        let backend = self.backend(service)?;
        let placed = self.read(backend)?.filter(|placed| placed.kept.route.service == service);
        let Some(placed) = placed else { return Ok(None) };
        let slots = self.slots(call, backend).await?;
        Ok(Some(placed.kept.view(|target| placed.seen(target, &slots))))
    }

    /// Until it has no session; those that are left are shut down.
    async fn await_end(&self, call: &Call, request: &DrainTarget, _: &str) -> Result<Drained, EffectError> {
        let service = &request.service;
        let backend = self.backend(service)?;
        let slot = self.read(backend)?.and_then(|placed| placed.slots.get(&request.target).cloned());
        let slot = slot.ok_or_else(|| gone::<Self>(service))?;
        let patience = Patience::new(call, self.clock.as_ref(), longest(request));
        let mut left = self.in_flight(call, backend, &slot).await?;
        while left > 0 && patience.pause().await? {
            left = self.in_flight(call, backend, &slot).await?;
        }
        let cut = left;
        if cut > 0 {
            let command = format!("shutdown sessions server {backend}/{slot}");
            self.runtime.ask(call, self.clock.as_ref(), &command).await?;
            let patience = Patience::new(call, self.clock.as_ref(), CUT_PATIENCE);
            while self.in_flight(call, backend, &slot).await? > 0 && patience.pause().await? {}
        }
        Ok(Drained { waited_ms: patience.waited_ms(), requests_cut: cut, streams_cut: 0 })
    }

    /// A reload keeps addresses of servers that the configuration gives a name alone.
    async fn is_ready(&self, call: &Call, service: &str) -> Result<(), EffectError> {
        let backend = self.backend(service)?;
        let slots = self.slots(call, backend).await.map_err(EffectError::not_applied)?;
        if self.state_file.is_none() || slots.iter().all(|slot| slot.is_named) {
            return Ok(());
        }
        let message = format!("a reload of HAProxy would lose the addresses of the targets of backend `{backend}`");
        Err(EffectError::new(ErrorKind::Conflict, message)
            .hint(
                "give its servers a name and `init-addr last,127.0.0.1`: `server-template slot 1-8 free.invalid:1 ...`",
            )
            .not_applied())
    }
}
