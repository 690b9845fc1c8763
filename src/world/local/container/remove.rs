//! `docker_remove`.

use std::sync::Arc;

use crate::effect::container::{RemoveContainer, Removed, container_is_running};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::local_engine::{LocalEngine, is_own, run_blocking};

impl LocalEngine {
    pub(crate) async fn remove_container(
        self: &Arc<Self>,
        call: &Call,
        request: &RemoveContainer,
    ) -> Result<Removed, EffectError> {
        let (reference, missing_ok) = (request.container.key.clone(), request.missing_ok);
        let found = run_blocking(self, move |engine| {
            if missing_ok { engine.find_container(&reference) } else { engine.require_container(&reference).map(Some) }
        })
        .await?;
        let Some(record) = found.filter(|record| !request.only_own || is_own(call, &record.labels)) else {
            return Ok(Removed { removed: false });
        };
        if self.current_status(&record).await?.is_running() {
            if !request.force {
                return Err(container_is_running(&record.spec.name));
            }
            self.kill_container(call, &record).await?;
        }
        run_blocking(self, move |engine| {
            let _guard = engine.folder.guard()?;
            let folder = engine.folder.container(&record.id);
            if !folder.exists() {
                return Ok(Removed { removed: false });
            }
            // Another process may have started it again.
            let status = engine.container_status(&record)?;
            if status.is_running() {
                return Err(EffectError::new(
                    ErrorKind::Conflict,
                    format!("container `{}` was started again during the removal", record.spec.name),
                ));
            }
            if let Some(supervisor) = status.abandoned_by {
                supervisor.kill_session();
            }
            engine.leave_networks(&record.id)?;
            engine.remove_folder(&folder)?;
            Ok(Removed { removed: true })
        })
        .await
    }
}
