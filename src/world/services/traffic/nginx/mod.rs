//! The driver `nginx`: writes one include file, has it tested and reloaded, and looks at the workers until none serves
//! by the old one. Knows no other file of nginx.
//!
//! While a change is under way, the text that was proved last lies beside the file (`.last`): whoever comes after a
//! crash goes on from there.

mod in_force;
mod text;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::Proof;
use super::kept_driver::{KeptDriver, Next};
use super::kept_file::{self, beside, lock_folder};
use super::kept_route::{KeptRoute, Seen, longest};
use super::patience::Patience;
use crate::effect::traffic::{DrainTarget, Drained, NginxDriver, Route, RouteView};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use text::{Written, seen};

pub(super) struct NginxInclude {
    include: Option<String>,
    test: Vec<String>,
    reload: Vec<String>,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
}

impl NginxInclude {
    pub(super) fn new(driver: &NginxDriver, client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        let NginxDriver { include, test, reload } = driver.clone();
        Self { include, test, reload, client, clock }
    }

    fn file(&self, service: &str) -> Result<PathBuf, EffectError> {
        match &self.include {
            Some(file) => Ok(file.into()),
            None if service.contains('/') => {
                let message = format!("the service `{service}` cannot be part of a file's name: give `include`");
                Err(EffectError::new(ErrorKind::Invalid, message).not_applied())
            }
            None => Ok(format!("/etc/nginx/conf.d/deployer-{service}.conf").into()),
        }
    }

    /// One server block per host and address: nginx would drop the second without an error.
    fn refuse_neighbours(&self, file: &Path, route: &Route) -> Result<(), EffectError> {
        let Some(Ok(folder)) = file.parent().map(std::fs::read_dir) else { return Ok(()) };
        for other in folder.flatten().map(|entry| entry.path()) {
            if other == file || other.extension() != file.extension() {
                continue;
            }
            let Some(other) = kept_file::read(&other).ok().flatten().and_then(|text| Written::parse(&text)) else {
                continue;
            };
            let other = other.kept.route;
            let mine = || std::iter::once(&route.address).chain(&route.also);
            let shared =
                std::iter::once(&other.address).chain(&other.also).find(|address| mine().any(|my| my == *address));
            if let Some(address) = shared.filter(|_| other.host == route.host) {
                let host = route.host.as_ref().map_or_else(|| "every host".to_owned(), |host| format!("host `{host}`"));
                let message = format!(
                    "service `{}` has {host} on {address} already: with nginx, services cannot share a host, not even by path",
                    other.service
                );
                return Err(EffectError::new(ErrorKind::Conflict, message)
                    .hint("give each service a `host` of its own, or use the driver `proxy`, which routes by path")
                    .not_applied());
            }
        }
        Ok(())
    }
}

/// Not to be guessed by a visitor.
fn token() -> Result<String, EffectError> {
    let number = getrandom::u64()
        .map_err(|why| EffectError::new(ErrorKind::Internal, format!("no randomness: {why}")).not_applied())?;
    Ok(format!("{number:016x}"))
}

fn foreign(file: &Path) -> EffectError {
    EffectError::new(ErrorKind::Conflict, format!("`{}` is not a file that deployer wrote", file.display()))
        .hint("move it away, or name another file with `include`")
        .not_applied()
}

impl KeptDriver for NginxInclude {
    const KIND: &'static str = "nginx";
    const PROGRAM: &'static str = "nginx";
    const PROOF: Proof = Proof::Header;

    /// Changes the file and has it taken into use; when that fails, everything is as before. `make` says what it shall
    /// be: none takes it away.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut make: impl FnMut(Option<KeptRoute>) -> Next + Send,
    ) -> Result<(), EffectError> {
        let file = self.file(service)?;
        let last = beside(&file, "last");
        let lock = lock_folder(call, self.clock.as_ref(), &file).await?;
        let (there, proved) = (kept_file::read(&file)?, kept_file::read(&last)?);
        let found = there.as_deref().and_then(Written::parse);
        if there.is_some() && found.is_none() {
            return Err(foreign(&file));
        }
        if let Some(other) = found.as_ref().filter(|found| found.kept.route.service != service) {
            let message = format!("`{}` is the file of service `{}`", file.display(), other.kept.route.service);
            return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
        }
        let unfinished = proved.is_some();
        let former = proved.or_else(|| there.clone()).unwrap_or_default();
        let mut kept = Written::parse(&former).map(|written| written.kept);
        // The epoch of whoever did not come to the end counts all the same.
        if let (Some(kept), Some(found)) = (&mut kept, &found) {
            kept.epoch = kept.epoch.max(found.kept.epoch);
        }
        let next = match make(kept)? {
            Some(kept) => Some(Written { kept, token: token()? }),
            None => None,
        };
        let mut working = match &found {
            Some(found) => self.worker(found).await,
            None => None,
        };
        match (&next, &found) {
            (None, None) if !unfinished => return Ok(()),
            // What nginx reads stays the same: no need to make it read it again.
            (Some(next), Some(found)) if working.is_some() && !unfinished => {
                let same = Written { kept: next.kept.clone(), token: found.token.clone() };
                if same.body()? == found.body()? {
                    return lock.write(&file, &same.text()?).await;
                }
            }
            _ => {}
        }
        if let (None, Some(written)) = (working, Written::parse(&former)) {
            working = self.worker(&written).await;
        }
        let old = working.map(workers::serving).unwrap_or_default();
        let text = next.as_ref().map(Written::text).transpose()?;
        if let Some(next) = &next {
            self.refuse_neighbours(&file, &next.kept.route)?;
        }
        lock.write(&last, &former).await?;
        let done = async {
            match &text {
                Some(text) => lock.write(&file, text).await?,
                None => drop(lock.remove(&file).await?),
            }
            self.take_into_use(call, next.as_ref(), found.as_ref(), &old).await
        };
        match done.await {
            Ok(()) => lock.remove(&last).await.map(drop),
            Err(error) => Err(self.put_back(call, &lock, &file, &former, error).await),
        }
    }

    async fn view(&self, _: &Call, service: &str) -> Result<Option<RouteView>, EffectError> {
        let file = self.file(service)?;
        let Some(text) = kept_file::read(&file)? else { return Ok(None) };
        let Some(written) = Written::parse(&text) else { return Err(foreign(&file)) };
        if written.kept.route.service != service {
            return Ok(None);
        }
        let worker = self.worker(&written).await;
        Ok(Some(written.kept.view(|target| {
            let open = worker.zip(target.address.parse().ok()).and_then(|(pid, to)| workers::connections(pid, to));
            Seen { in_flight: open.unwrap_or(0), ..seen(&text, target) }
        })))
    }

    /// Until no worker has a connection to it: the new ones open none.
    async fn await_end(&self, call: &Call, request: &DrainTarget, address: &str) -> Result<Drained, EffectError> {
        let patience = Patience::new(call, self.clock.as_ref(), longest(request));
        let written = kept_file::read(&self.file(&request.service)?)?.as_deref().and_then(Written::parse);
        let worker = match &written {
            Some(written) => self.worker(written).await,
            None => None,
        };
        loop {
            let open = worker.zip(address.parse().ok()).and_then(|(pid, to)| workers::connections(pid, to));
            let left = open.ok_or_else(|| {
                EffectError::new(ErrorKind::Unsupported, "the workers of nginx cannot be seen from here")
                    .hint("run deployer on the machine of nginx, in the same process namespace")
            })?;
            if left == 0 || !patience.pause().await? {
                return Ok(Drained { waited_ms: patience.waited_ms(), requests_cut: left, streams_cut: 0 });
            }
        }
    }
}
