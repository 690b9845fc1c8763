//! The connection to a Docker Engine that all categories of effects share.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;

use super::connection::{self, ConnectSpec, SshTunnel};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::SystemClock;
use crate::world::process_identity::ProcessIdentity;

/// An open connection to a Docker Engine, with what every request needs.
pub(super) struct EngineClient {
    /// The client of the Engine API.
    pub(super) docker: Docker,
    /// The address at which other programs on this machine reach the engine.
    pub(super) address: String,
    /// The machine whose ports the containers publish. `None` when it is this one.
    pub(super) remote_host: Option<String>,
    /// The folder of Docker's own configuration.
    pub(super) config_folder: Option<PathBuf>,
    /// The current process, which holds the locks.
    pub(super) process: ProcessIdentity,
    /// The clock of the world.
    pub(super) clock: Arc<SystemClock>,
    /// Keeps the ssh tunnel open.
    _tunnel: Option<SshTunnel>,
}

impl EngineClient {
    pub(super) async fn connect(
        spec: ConnectSpec,
        process: ProcessIdentity,
        timeout: Duration,
    ) -> Result<Self, EffectError> {
        let connection = connection::open(&spec, timeout).await?;
        Ok(Self {
            docker: connection.docker,
            address: connection.address,
            remote_host: connection.remote_host,
            config_folder: spec.config_folder,
            process,
            clock: Arc::new(SystemClock::default()),
            _tunnel: connection.tunnel,
        })
    }

    /// Returns whether the engine runs on this machine.
    pub(super) fn is_on_this_host(&self) -> bool {
        self.remote_host.is_none()
    }
}

impl fmt::Debug for EngineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineClient").field("address", &self.address).finish_non_exhaustive()
    }
}

/// How many requests run at the same time when something is looked up for each item of a list.
pub(super) const PARALLEL_REQUESTS: usize = 8;

/// Waits for `work`, or fails with `cancelled` as soon as the run is cancelled.
pub(super) async fn unless_cancelled<T>(
    call: &Call,
    what: &str,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        done = work => done,
        () = call.cancel.cancelled() => Err(EffectError::new(ErrorKind::Cancelled, format!("{what} was cancelled"))),
    }
}
