//! Taking an include file into use: tested, reloaded, and in force for every new visitor; or all as it was. Knows no
//! target.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::super::program::{Program, evidence};
use super::super::driver::PROBE_HEADER;
use super::super::kept_file::{FolderLock, beside};
use super::super::patience::Patience;
use super::super::probe::from_here;
use super::text::Written;
use super::{NginxInclude, workers};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;

/// Until the workers of a new configuration answer, and those of the old one take nothing new.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);
/// Of one question to a worker.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of its answer: a number.
const ANSWER_LIMIT: u64 = 20;
/// Of the commands that test and reload.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);
/// Old and new workers serve side by side for 100 ms; so long is waited where the old ones cannot be seen.
const OVERLAP: Duration = Duration::from_millis(500);

impl NginxInclude {
    /// Tests, reloads, and waits until only the new configuration serves.
    pub(super) async fn take_into_use(
        &self,
        call: &Call,
        next: Option<&Written>,
        found: Option<&Written>,
        old: &BTreeSet<u32>,
    ) -> Result<(), EffectError> {
        self.run(call, &self.test, "does not accept its configuration").await.map_err(EffectError::not_applied)?;
        self.run(call, &self.reload, "did not reload").await?;
        let patience = Patience::new(call, self.clock.as_ref(), RELOAD_PATIENCE);
        while !self.is_in_force(next, found).await {
            if !patience.pause().await? {
                let message = "nginx goes on with its old configuration after the reload";
                return Err(EffectError::new(ErrorKind::Failed, message)
                    .hint("see why in its error log: tail /var/log/nginx/error.log; is the port taken?"));
            }
        }
        if old.is_empty() && found.is_some() {
            let patience = Patience::new(call, self.clock.as_ref(), OVERLAP);
            while patience.pause().await? {}
        }
        while old.iter().any(|pid| workers::is_serving(*pid)) {
            if !patience.pause().await? {
                return Err(EffectError::new(
                    ErrorKind::Failed,
                    "old workers of nginx go on to serve after the reload",
                )
                .hint("see them: ps -C nginx -o pid,ppid,args"));
            }
        }
        Ok(())
    }

    /// Whether a new visitor is answered by the new configuration.
    async fn is_in_force(&self, next: Option<&Written>, found: Option<&Written>) -> bool {
        match (next, found) {
            (Some(next), _) => self.ask(next).await.is_some(),
            (None, Some(found)) => self.ask(found).await.is_none(),
            (None, None) => true,
        }
    }

    /// The number of the worker that answers at the route's address by this very text.
    async fn ask(&self, written: &Written) -> Option<u32> {
        let route = &written.kept.route;
        let url = format!("http://{}/", from_here(&route.address));
        let mut request = self.client.get(url).timeout(ASK_TIMEOUT).header(PROBE_HEADER, &written.token);
        if let Some(host) = &route.host {
            request = request.header(reqwest::header::HOST, host);
        }
        let answer = request.send().await.ok()?;
        if answer.content_length().is_none_or(|length| length > ANSWER_LIMIT) {
            return None;
        }
        answer.text().await.ok()?.parse().ok()
    }

    /// The same, when its process can be seen from here.
    pub(super) async fn worker(&self, written: &Written) -> Option<u32> {
        self.ask(written).await.filter(|pid| workers::is_worker(*pid))
    }

    async fn run(&self, call: &Call, command: &[String], fails: &str) -> Result<(), EffectError> {
        let Some((program, arguments)) = command.split_first() else {
            let message = "the commands `test` and `reload` of the driver `nginx` need a program each";
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        };
        let mut program = Program::new(program, arguments);
        program.timeout = PROGRAM_TIMEOUT;
        let result = program.run(call, self.clock.as_ref()).await?;
        if result.exit_code == 0 {
            return Ok(());
        }
        Err(EffectError::new(ErrorKind::Failed, format!("nginx {fails}"))
            .hint(format!("see for yourself: {}", command.join(" ")))
            .detail(call.vault.scrub(&evidence(&result.stdout, &result.stderr))))
    }

    /// Has the former text in force again after `error`, cancelled or not.
    pub(super) async fn put_back(
        &self,
        call: &Call,
        lock: &FolderLock,
        file: &Path,
        former: &str,
        error: EffectError,
    ) -> EffectError {
        let call = Call { cancel: CancellationToken::new(), ..call.clone() };
        let restored = async {
            if former.is_empty() {
                lock.remove(file).await?;
            } else {
                lock.write(file, former).await?;
            }
            lock.remove(&beside(file, "last")).await?;
            if error.applied != Applied::No {
                self.run(&call, &self.reload, "did not reload").await?;
            }
            Ok::<(), EffectError>(())
        };
        match restored.await {
            Ok(()) => error,
            Err(second) => {
                let detail = format!(
                    "{}\nthe old configuration may not be in force again: {second}",
                    error.detail.as_deref().unwrap_or("")
                );
                EffectError { applied: Applied::Unknown, ..error }.detail(detail)
            }
        }
    }
}
