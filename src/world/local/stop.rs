//! `docker_stop`, `docker_kill` and `docker_wait`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::folder::io_error;
use super::process::{ProcessMark, parse_signal};
use super::record::{ContainerRecord, Life, STOP_REQUESTED};
use super::{LocalEngine, Waiting, blocking};
use crate::effect::container::{Ended, KillContainer, StopContainer, Stopped, WaitContainer};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

const POLL: Duration = Duration::from_millis(5);
const SLOW_POLL: Duration = Duration::from_millis(50);
/// How long a killed process may take to vanish.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl LocalEngine {
    pub(super) async fn stop(self: &Arc<Self>, call: &Call, request: &StopContainer) -> Result<Stopped, EffectError> {
        let asked = request.signal.as_deref().map(parse_signal).transpose()?;
        let (reference, missing_ok) = (request.container.key.clone(), request.missing_ok);
        let found =
            blocking(
                self,
                move |engine| {
                    if missing_ok { engine.find(&reference) } else { engine.need(&reference).map(Some) }
                },
            )
            .await?;
        let Some(record) = found else { return Ok(Stopped { exit_code: None, killed: false }) };
        let life = self.fresh(&record).await?;
        if !life.is_running() {
            return Ok(Stopped { exit_code: Some(life.exit_code.unwrap_or(0)), killed: false });
        }
        let signal = match (asked, &record.spec.stop_signal) {
            (Some(asked), _) => asked,
            (None, Some(preset)) => parse_signal(preset)?,
            (None, None) => Signal::SIGTERM,
        };
        self.request_stop(&record)?;
        if let Some(life) = self.end(call, &record, signal, request.grace.0).await? {
            return Ok(Stopped { exit_code: life.exit_code, killed: false });
        }
        let life = self.end_now(call, &record).await?;
        Ok(Stopped { exit_code: life.exit_code, killed: true })
    }

    pub(super) async fn kill(self: &Arc<Self>, call: &Call, request: &KillContainer) -> Result<(), EffectError> {
        let signal = parse_signal(&request.signal)?;
        let reference = request.container.key.clone();
        let record = blocking(self, move |engine| engine.need(&reference)).await?;
        let life = self.fresh(&record).await?;
        if !life.is_running() {
            return Err(not_running(&record));
        }
        if matches!(signal, Signal::SIGKILL | Signal::SIGTERM | Signal::SIGINT) {
            self.request_stop(&record)?;
        }
        if signal == Signal::SIGKILL {
            return self.end_now(call, &record).await.map(drop);
        }
        let sent = life.child.is_some_and(|child| child.signal_group(signal));
        if sent { Ok(()) } else { Err(not_running(&record)) }
    }

    pub(super) async fn wait(self: &Arc<Self>, call: &Call, request: &WaitContainer) -> Result<Ended, EffectError> {
        let reference = request.container.key.clone();
        let record = blocking(self, move |engine| engine.need(&reference)).await?;
        let waiting = Waiting::until(call, request.timeout.0);
        loop {
            let life = self.fresh(&record).await?;
            if !life.is_running() {
                return Ok(Ended { exit_code: life.exit_code.unwrap_or(0) });
            }
            if waiting.is_over() {
                return Err(EffectError::new(
                    ErrorKind::Timeout,
                    format!("container `{}` still runs after {}", record.spec.name, request.timeout),
                )
                .not_applied());
            }
            waiting.pause(SLOW_POLL).await?;
        }
    }

    pub(super) async fn fresh(self: &Arc<Self>, record: &ContainerRecord) -> Result<Life, EffectError> {
        let record = record.clone();
        blocking(self, move |engine| engine.life(&record)).await
    }

    /// Keeps the supervisor from starting the program again.
    fn request_stop(&self, record: &ContainerRecord) -> Result<(), EffectError> {
        let marker = self.container_file(&record.id, STOP_REQUESTED);
        fs::write(&marker, "").map_err(|why| io_error("write", &marker, &why).not_applied())
    }

    /// Kills it, also when it is just being started again.
    pub(super) async fn end_now(self: &Arc<Self>, call: &Call, record: &ContainerRecord) -> Result<Life, EffectError> {
        self.request_stop(record)?;
        // A cancelled run must still be able to take its containers away.
        let call = Call { cancel: tokio_util::sync::CancellationToken::new(), ..call.clone() };
        self.end(&call, record, Signal::SIGKILL, KILL_DEADLINE).await?.ok_or_else(|| {
            EffectError::new(
                ErrorKind::Timeout,
                format!("container `{}` did not end within {KILL_DEADLINE:?} of SIGKILL", record.spec.name),
            )
        })
    }

    /// Signals the group, each new child once, and waits until nothing runs; none when the time is over.
    async fn end(
        self: &Arc<Self>,
        call: &Call,
        record: &ContainerRecord,
        signal: Signal,
        time: Duration,
    ) -> Result<Option<Life>, EffectError> {
        let waiting = Waiting::until(call, time);
        let mut signalled: Option<ProcessMark> = None;
        loop {
            let life = self.fresh(record).await?;
            if !life.is_running() {
                if let Some(supervisor) = &life.abandoned_by {
                    supervisor.kill_session();
                }
                return Ok(Some(life));
            }
            if life.child != signalled {
                if let Some(child) = &life.child {
                    child.signal_group(signal);
                }
                signalled = life.child;
            }
            if waiting.is_over() {
                return Ok(None);
            }
            waiting.pause(POLL).await?;
        }
    }
}

pub(super) fn not_running(record: &ContainerRecord) -> EffectError {
    EffectError::new(ErrorKind::Conflict, format!("container `{}` is not running", record.spec.name))
        .hint(format!("see why: `docker_logs(\"{}\")`", record.spec.name))
        .not_applied()
}
