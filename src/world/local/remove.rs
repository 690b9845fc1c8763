//! `docker_remove`.

use std::sync::Arc;

use super::{LocalEngine, blocking};
use crate::effect::container::{RemoveContainer, Removed};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl LocalEngine {
    pub(super) async fn remove(
        self: &Arc<Self>,
        call: &Call,
        request: &RemoveContainer,
    ) -> Result<Removed, EffectError> {
        let (reference, missing_ok) = (request.container.key.clone(), request.missing_ok);
        let found =
            blocking(
                self,
                move |engine| {
                    if missing_ok { engine.find(&reference) } else { engine.need(&reference).map(Some) }
                },
            )
            .await?;
        let Some(record) = found.filter(|record| !request.only_own || super::is_own(call, &record.labels)) else {
            return Ok(Removed { removed: false });
        };
        if self.fresh(&record).await?.is_running() {
            if !request.force {
                return Err(EffectError::new(
                    ErrorKind::Conflict,
                    format!("container `{}` is running", record.spec.name),
                )
                .hint("stop it first: `docker_stop`, or use `force: true`")
                .not_applied());
            }
            self.end_now(call, &record).await?;
        }
        blocking(self, move |engine| {
            let _guard = engine.folder.guard()?;
            let folder = engine.folder.container(&record.id);
            if !folder.exists() {
                return Ok(Removed { removed: false });
            }
            // Somebody may have started it again meanwhile.
            let life = engine.life(&record)?;
            if life.is_running() {
                return Err(EffectError::new(
                    ErrorKind::Conflict,
                    format!("container `{}` was started again meanwhile", record.spec.name),
                ));
            }
            if let Some(supervisor) = life.abandoned_by {
                supervisor.kill_session();
            }
            engine.leave_networks(&record.id)?;
            engine.discard(&folder)?;
            Ok(Removed { removed: true })
        })
        .await
    }
}
