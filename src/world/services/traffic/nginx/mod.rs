//! The driver `nginx`: writes one include file, tests it, reloads nginx, and waits until no worker serves the old
//! configuration. Knows no other file of nginx.
//!
//! During a change, the last verified text is kept beside the file (`.last`). After a crash, the next change starts from
//! there.

mod include_file;
mod reload;
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::ProbeProof;
use super::external_driver::{ExternalDriver, NextRoute};
use super::poller::Poller;
use super::state_file::{self, lock_folder, with_suffix};
use super::stored_route::{ObservedTarget, StoredRoute, drain_timeout};
use crate::effect::traffic::{DrainTarget, Drained, NginxDriver, Route, RouteView, nginx_host_taken};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use include_file::{IncludeFile, observe};
use reload::NginxReloader;

/// Controls nginx through an include file.
pub(super) struct NginxIncludeDriver {
    include: Option<String>,
    reloader: NginxReloader,
    clock: Arc<dyn Clock>,
}

impl NginxIncludeDriver {
    pub(super) fn new(driver: &NginxDriver, client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        let NginxDriver { include, test, reload } = driver.clone();
        let reloader = NginxReloader { test, reload, client, clock: Arc::clone(&clock) };
        Self { include, reloader, clock }
    }

    fn file(&self, service: &str) -> Result<PathBuf, EffectError> {
        match &self.include {
            Some(file) => Ok(file.into()),
            None if service.contains('/') => {
                let message = format!("the service name `{service}` cannot be part of a file name: set `include`");
                Err(EffectError::new(ErrorKind::Invalid, message).not_applied())
            }
            None => Ok(format!("/etc/nginx/conf.d/deployer-{service}.conf").into()),
        }
    }

    /// Fails if another service has the same host and address. nginx would ignore the second one without an error.
    fn refuse_conflicting_routes(&self, file: &Path, route: &Route) -> Result<(), EffectError> {
        let Some(Ok(folder)) = file.parent().map(std::fs::read_dir) else { return Ok(()) };
        for other in folder.flatten().map(|entry| entry.path()) {
            if other == file || other.extension() != file.extension() {
                continue;
            }
            let Some(other) = state_file::read(&other).ok().flatten().and_then(|text| IncludeFile::parse(&text)) else {
                continue;
            };
            let other = other.stored.route;
            let own = || std::iter::once(&route.address).chain(&route.also);
            let shared =
                std::iter::once(&other.address).chain(&other.also).find(|address| own().any(|own| own == *address));
            if let Some(address) = shared.filter(|_| other.host == route.host) {
                return Err(nginx_host_taken(&other.service, route.host.as_deref(), address));
            }
        }
        Ok(())
    }
}

/// Returns a random token that no client can guess.
fn token() -> Result<String, EffectError> {
    let number = getrandom::u64().map_err(|why| {
        EffectError::new(ErrorKind::Internal, format!("cannot get random bytes: {why}")).not_applied()
    })?;
    Ok(format!("{number:016x}"))
}

fn not_ours(file: &Path) -> EffectError {
    EffectError::new(ErrorKind::Conflict, format!("`{}` was not written by deployer", file.display()))
        .hint("move it away, or set `include` to another file")
        .not_applied()
}

impl ExternalDriver for NginxIncludeDriver {
    const KIND: &'static str = "nginx";
    const PROGRAM: &'static str = "nginx";
    const PROOF: ProbeProof = ProbeProof::Header;

    /// Changes the file and applies it. On an error, restores the previous file.
    async fn change(
        &self,
        call: &Call,
        service: &str,
        mut next_route: impl FnMut(Option<StoredRoute>) -> NextRoute + Send,
    ) -> Result<(), EffectError> {
        let file = self.file(service)?;
        let last = with_suffix(&file, "last");
        let lock = lock_folder(call, self.clock.as_ref(), &file).await?;
        let (current, verified) = (state_file::read(&file)?, state_file::read(&last)?);
        let found = current.as_deref().and_then(IncludeFile::parse);
        if current.is_some() && found.is_none() {
            return Err(not_ours(&file));
        }
        if let Some(other) = found.as_ref().filter(|found| found.stored.route.service != service) {
            let message = format!("`{}` is the file of service `{}`", file.display(), other.stored.route.service);
            return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
        }
        let is_interrupted = verified.is_some();
        let previous = verified.or_else(|| current.clone()).unwrap_or_default();
        let mut stored = IncludeFile::parse(&previous).map(|file| file.stored);
        // The epoch of an interrupted change counts, too.
        if let (Some(stored), Some(found)) = (&mut stored, &found) {
            stored.epoch = stored.epoch.max(found.stored.epoch);
        }
        let next = match next_route(stored)? {
            Some(stored) => Some(IncludeFile { stored, token: token()? }),
            None => None,
        };
        let mut worker = match &found {
            Some(found) => self.reloader.visible_worker(found).await,
            None => None,
        };
        match (&next, &found) {
            (None, None) if !is_interrupted => return Ok(()),
            // nginx would read the same configuration: no reload is needed.
            (Some(next), Some(found)) if worker.is_some() && !is_interrupted => {
                let same = IncludeFile { stored: next.stored.clone(), token: found.token.clone() };
                if same.body()? == found.body()? {
                    return lock.write(&file, &same.text()?).await;
                }
            }
            _ => {}
        }
        if let (None, Some(file)) = (worker, IncludeFile::parse(&previous)) {
            worker = self.reloader.visible_worker(&file).await;
        }
        let old_workers = worker.map(workers::serving_siblings).unwrap_or_default();
        let text = next.as_ref().map(IncludeFile::text).transpose()?;
        if let Some(next) = &next {
            self.refuse_conflicting_routes(&file, &next.stored.route)?;
        }
        lock.write(&last, &previous).await?;
        let done = async {
            match &text {
                Some(text) => lock.write(&file, text).await?,
                None => drop(lock.remove(&file).await?),
            }
            self.reloader.apply(call, next.as_ref(), found.as_ref(), &old_workers).await
        };
        match done.await {
            Ok(()) => lock.remove(&last).await.map(drop),
            Err(error) => Err(self.reloader.restore(call, &lock, &file, &previous, error).await),
        }
    }

    async fn view(&self, _: &Call, service: &str) -> Result<Option<RouteView>, EffectError> {
        let file = self.file(service)?;
        let Some(text) = state_file::read(&file)? else { return Ok(None) };
        let Some(include) = IncludeFile::parse(&text) else { return Err(not_ours(&file)) };
        if include.stored.route.service != service {
            return Ok(None);
        }
        let worker = self.reloader.visible_worker(&include).await;
        Ok(Some(include.stored.view(|target| {
            let open = worker.zip(target.address.parse().ok()).and_then(|(pid, to)| workers::connections(pid, to));
            ObservedTarget { in_flight: open.unwrap_or(0), ..observe(&text, target) }
        })))
    }

    /// Waits until no worker has a connection to the target. New workers open none.
    async fn await_drained(&self, call: &Call, request: &DrainTarget, address: &str) -> Result<Drained, EffectError> {
        let poller = Poller::new(call, self.clock.as_ref(), drain_timeout(request));
        let include = state_file::read(&self.file(&request.service)?)?.as_deref().and_then(IncludeFile::parse);
        let worker = match &include {
            Some(include) => self.reloader.visible_worker(include).await,
            None => None,
        };
        loop {
            let open = worker.zip(address.parse().ok()).and_then(|(pid, to)| workers::connections(pid, to));
            let left = open.ok_or_else(|| {
                EffectError::new(ErrorKind::Unsupported, "the workers of nginx are not visible from here")
                    .hint("run deployer on the machine of nginx, in the same PID namespace")
            })?;
            if left == 0 || !poller.wait().await? {
                return Ok(Drained { waited_ms: poller.elapsed_ms(), requests_cut: left, streams_cut: 0 });
            }
        }
    }
}
