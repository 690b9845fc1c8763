//! `docker_wait`.

use std::sync::Arc;
use std::time::Duration;

use crate::effect::EffectError;
use crate::effect::container::{Ended, WaitContainer};
use crate::world::Call;
use crate::world::local::bounded_wait::BoundedWait;
use crate::world::local::local_engine::{LocalEngine, run_blocking};

const SLOW_POLL: Duration = Duration::from_millis(50);

impl LocalEngine {
    pub(crate) async fn wait_for_exit(
        self: &Arc<Self>,
        call: &Call,
        request: &WaitContainer,
    ) -> Result<Ended, EffectError> {
        let reference = request.container.key.clone();
        let record = run_blocking(self, move |engine| engine.require_container(&reference)).await?;
        let waiting = BoundedWait::until(call, request.timeout.0);
        loop {
            let status = self.current_status(&record).await?;
            if !status.is_running() {
                return Ok(Ended { exit_code: status.exit_code.unwrap_or(0) });
            }
            if waiting.is_over() {
                return Err(request.still_running(&record.spec.name));
            }
            waiting.pause(SLOW_POLL).await?;
        }
    }
}
