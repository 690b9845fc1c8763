//! Waits for containers to exit.

use bollard::errors::Error;
use bollard::query_parameters::WaitContainerOptionsBuilder;
use futures_util::TryStreamExt;

use super::Containers;
use crate::effect::container::{Ended, WaitContainer};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::client::unless_cancelled;
use crate::world::docker::error::{Subject, engine_error};

impl Containers {
    pub(super) async fn wait(&self, call: &Call, request: &WaitContainer) -> Result<Ended, EffectError> {
        let container = self.get(&request.container).await?;
        let wait = async {
            let exit = self.exit_code_of(&container.id, &container.name);
            match tokio::time::timeout(request.timeout.0, exit).await {
                Ok(exit) => exit.map(|exit_code| Ended { exit_code }),
                Err(_) => Err(request.still_running(&container.name)),
            }
        };
        unless_cancelled(call, "the wait for the container", wait).await
    }

    /// Waits for the exit without a deadline of its own.
    pub(super) async fn exit_code_of(&self, id: &str, name: &str) -> Result<i64, EffectError> {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        match self.client.docker.wait_container(id, Some(options)).try_next().await {
            Ok(Some(ended)) => Ok(ended.status_code),
            // The client library reports every nonzero exit code as an error.
            Err(Error::DockerContainerWaitError { code, .. }) => Ok(code),
            Ok(None) => Err(EffectError::new(
                ErrorKind::Unavailable,
                format!("the docker engine ended the wait for container `{name}` without an exit code"),
            )),
            Err(error) => Err(engine_error(error, Subject::Container(name))),
        }
    }
}
