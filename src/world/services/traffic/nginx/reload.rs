//! Applies an include file: tests it, reloads nginx, and waits until the new configuration serves all new clients. On an
//! error, restores the previous file. Knows no target.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::include_file::IncludeFile;
use super::workers;
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::subprocess::{Subprocess, output_excerpt};
use crate::world::services::traffic::driver::PROBE_HEADER;
use crate::world::services::traffic::poller::Poller;
use crate::world::services::traffic::probe::local_address;
use crate::world::services::traffic::state_file::{FolderLock, with_suffix};

/// How long a reload may take: until the new workers answer and the old ones accept no connections.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of one request to a worker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer of a worker in bytes. It is a process id.
const ANSWER_LIMIT: u64 = 20;
/// Timeout of the commands that test and reload.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait if the old workers cannot be seen. Old and new workers overlap for about 100 ms.
const OVERLAP: Duration = Duration::from_millis(500);

/// Runs the commands of nginx and asks its workers.
pub(super) struct NginxReloader {
    pub test: Vec<String>,
    pub reload: Vec<String>,
    pub client: reqwest::Client,
    pub clock: Arc<dyn Clock>,
}

impl NginxReloader {
    /// Tests, reloads, and waits until only the new configuration serves.
    pub(super) async fn apply(
        &self,
        call: &Call,
        next: Option<&IncludeFile>,
        found: Option<&IncludeFile>,
        old_workers: &BTreeSet<u32>,
    ) -> Result<(), EffectError> {
        self.run(call, &self.test, "does not accept its configuration").await.map_err(EffectError::not_applied)?;
        self.run(call, &self.reload, "did not reload").await?;
        let poller = Poller::new(call, self.clock.as_ref(), RELOAD_TIMEOUT);
        while !self.is_in_effect(next, found).await {
            if !poller.wait().await? {
                let message = "nginx still uses its old configuration after the reload";
                return Err(EffectError::new(ErrorKind::Failed, message)
                    .hint("see its error log: tail /var/log/nginx/error.log; is the port in use?"));
            }
        }
        if old_workers.is_empty() && found.is_some() {
            let poller = Poller::new(call, self.clock.as_ref(), OVERLAP);
            while poller.wait().await? {}
        }
        while old_workers.iter().any(|pid| workers::is_serving(*pid)) {
            if !poller.wait().await? {
                let message = "old workers of nginx still accept connections after the reload";
                return Err(EffectError::new(ErrorKind::Failed, message).hint("see them: ps -C nginx -o pid,ppid,args"));
            }
        }
        Ok(())
    }

    /// Returns whether the new configuration answers new clients.
    async fn is_in_effect(&self, next: Option<&IncludeFile>, found: Option<&IncludeFile>) -> bool {
        match (next, found) {
            (Some(next), _) => self.answering_worker(next).await.is_some(),
            (None, Some(found)) => self.answering_worker(found).await.is_none(),
            (None, None) => true,
        }
    }

    /// Returns the process id of the worker that answers at the route's address, if it uses this very file.
    async fn answering_worker(&self, file: &IncludeFile) -> Option<u32> {
        let route = &file.stored.route;
        let url = format!("http://{}/", local_address(&route.address));
        let mut request = self.client.get(url).timeout(REQUEST_TIMEOUT).header(PROBE_HEADER, &file.token);
        if let Some(host) = &route.host {
            request = request.header(reqwest::header::HOST, host);
        }
        let response = request.send().await.ok()?;
        if response.content_length().is_none_or(|length| length > ANSWER_LIMIT) {
            return None;
        }
        response.text().await.ok()?.parse().ok()
    }

    /// Like `answering_worker`, but only if the process can be seen from here.
    pub(super) async fn visible_worker(&self, file: &IncludeFile) -> Option<u32> {
        self.answering_worker(file).await.filter(|pid| workers::is_worker(*pid))
    }

    async fn run(&self, call: &Call, command: &[String], failure: &str) -> Result<(), EffectError> {
        let Some((program, arguments)) = command.split_first() else {
            let message = "the commands `test` and `reload` of the driver `nginx` must not be empty";
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        };
        let mut subprocess = Subprocess::new(program, arguments);
        subprocess.timeout = COMMAND_TIMEOUT;
        let result = subprocess.run(call, self.clock.as_ref()).await?;
        if result.exit_code == 0 {
            return Ok(());
        }
        Err(EffectError::new(ErrorKind::Failed, format!("nginx {failure}"))
            .hint(format!("run it by hand: {}", command.join(" ")))
            .detail(call.vault.scrub(&output_excerpt(&result.stdout, &result.stderr))))
    }

    /// Restores the previous file after `error`, even if the call is cancelled. Returns the error to report.
    pub(super) async fn restore(
        &self,
        call: &Call,
        lock: &FolderLock,
        file: &Path,
        previous: &str,
        error: EffectError,
    ) -> EffectError {
        let call = Call { cancel: CancellationToken::new(), ..call.clone() };
        let restored = async {
            if previous.is_empty() {
                lock.remove(file).await?;
            } else {
                lock.write(file, previous).await?;
            }
            lock.remove(&with_suffix(file, "last")).await?;
            if error.applied != Applied::No {
                self.run(&call, &self.reload, "did not reload").await?;
            }
            Ok::<(), EffectError>(())
        };
        match restored.await {
            Ok(()) => error,
            Err(second) => {
                let detail = format!(
                    "{}\nthe old configuration may not be in effect again: {second}",
                    error.detail.as_deref().unwrap_or("")
                );
                EffectError { applied: Applied::Unknown, ..error }.detail(detail)
            }
        }
    }
}
