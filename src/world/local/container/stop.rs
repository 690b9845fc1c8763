//! `docker_stop` and `docker_kill`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::record::{ContainerRecord, ContainerStatus, STOP_REQUESTED};
use crate::effect::container::{KillContainer, StopContainer, Stopped};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::bounded_wait::BoundedWait;
use crate::world::local::local_engine::{LocalEngine, run_blocking};
use crate::world::local::process::{ProcessId, parse_signal};
use crate::world::local::state_folder::io_error;

const POLL: Duration = Duration::from_millis(5);
/// How long a killed process may take to exit.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl LocalEngine {
    pub(crate) async fn stop_container(
        self: &Arc<Self>,
        call: &Call,
        request: &StopContainer,
    ) -> Result<Stopped, EffectError> {
        let asked = request.signal.as_deref().map(parse_signal).transpose()?;
        let (reference, missing_ok) = (request.container.key.clone(), request.missing_ok);
        let found = run_blocking(self, move |engine| {
            if missing_ok { engine.find_container(&reference) } else { engine.require_container(&reference).map(Some) }
        })
        .await?;
        let Some(record) = found else { return Ok(Stopped { exit_code: None, killed: false }) };
        let status = self.current_status(&record).await?;
        if !status.is_running() {
            return Ok(Stopped { exit_code: Some(status.exit_code.unwrap_or(0)), killed: false });
        }
        let signal = match (asked, &record.spec.stop_signal) {
            (Some(asked), _) => asked,
            (None, Some(preset)) => parse_signal(preset)?,
            (None, None) => Signal::SIGTERM,
        };
        self.request_stop(&record)?;
        if let Some(status) = self.signal_until_exit(call, &record, signal, request.grace.0).await? {
            return Ok(Stopped { exit_code: status.exit_code, killed: false });
        }
        let status = self.kill_container(call, &record).await?;
        Ok(Stopped { exit_code: status.exit_code, killed: true })
    }

    pub(crate) async fn signal_container(
        self: &Arc<Self>,
        call: &Call,
        request: &KillContainer,
    ) -> Result<(), EffectError> {
        let signal = parse_signal(&request.signal)?;
        let reference = request.container.key.clone();
        let record = run_blocking(self, move |engine| engine.require_container(&reference)).await?;
        let status = self.current_status(&record).await?;
        if !status.is_running() {
            return Err(request.not_running(&record.spec.name));
        }
        if matches!(signal, Signal::SIGKILL | Signal::SIGTERM | Signal::SIGINT) {
            self.request_stop(&record)?;
        }
        if signal == Signal::SIGKILL {
            return self.kill_container(call, &record).await.map(drop);
        }
        let sent = status.child.is_some_and(|child| child.signal_group(signal));
        if sent { Ok(()) } else { Err(request.not_running(&record.spec.name)) }
    }

    pub(crate) async fn current_status(
        self: &Arc<Self>,
        record: &ContainerRecord,
    ) -> Result<ContainerStatus, EffectError> {
        let record = record.clone();
        run_blocking(self, move |engine| engine.container_status(&record)).await
    }

    /// Tells the supervisor not to restart the program.
    fn request_stop(&self, record: &ContainerRecord) -> Result<(), EffectError> {
        let marker = self.container_file(&record.id, STOP_REQUESTED);
        fs::write(&marker, "").map_err(|why| io_error("write", &marker, &why).not_applied())
    }

    /// Kills a container, even while it is being restarted.
    pub(crate) async fn kill_container(
        self: &Arc<Self>,
        call: &Call,
        record: &ContainerRecord,
    ) -> Result<ContainerStatus, EffectError> {
        self.request_stop(record)?;
        // A cancelled run must still be able to remove its containers.
        let call = Call { cancel: tokio_util::sync::CancellationToken::new(), ..call.clone() };
        self.signal_until_exit(&call, record, Signal::SIGKILL, KILL_DEADLINE).await?.ok_or_else(|| {
            EffectError::new(
                ErrorKind::Timeout,
                format!("container `{}` did not exit within {KILL_DEADLINE:?} after SIGKILL", record.spec.name),
            )
        })
    }

    /// Signals the process group, each new child once, and waits until nothing runs. Returns `None` on timeout.
    async fn signal_until_exit(
        self: &Arc<Self>,
        call: &Call,
        record: &ContainerRecord,
        signal: Signal,
        time: Duration,
    ) -> Result<Option<ContainerStatus>, EffectError> {
        let waiting = BoundedWait::until(call, time);
        let mut signalled: Option<ProcessId> = None;
        loop {
            let status = self.current_status(record).await?;
            if !status.is_running() {
                if let Some(supervisor) = &status.abandoned_by {
                    supervisor.kill_session();
                }
                return Ok(Some(status));
            }
            if status.child != signalled {
                if let Some(child) = &status.child {
                    child.signal_group(signal);
                }
                signalled = status.child;
            }
            if waiting.is_over() {
                return Ok(None);
            }
            waiting.pause(POLL).await?;
        }
    }
}
