//! `approval_wait`: asks by a file in the state folder, and waits for the answer of `deployer approve`.

use std::io;
use std::time::Duration;

use super::Services;
use super::wait::unless_cancelled;
use crate::effect::approval::{Approval, ApprovalEffect, ApprovalOutcome, AwaitApproval};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::approvals::{Approvals, Question};

/// Between two looks for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Services {
    pub(super) async fn approval(&self, call: &Call, effect: &ApprovalEffect) -> Result<ApprovalOutcome, EffectError> {
        let ApprovalEffect::Wait(request) = effect;
        self.await_approval(call, request).await.map(ApprovalOutcome::Wait)
    }

    async fn await_approval(&self, call: &Call, request: &AwaitApproval) -> Result<Approval, EffectError> {
        request.check()?;
        let approvals = self.approvals.as_ref().ok_or_else(|| {
            EffectError::new(ErrorKind::Unsupported, "there is no state folder in which an answer could be left")
                .not_applied()
        })?;
        let now = self.clock.unix_ms();
        let timeout = i64::try_from(request.timeout.0.as_millis()).unwrap_or(i64::MAX);
        let question = Question {
            question: call.vault.scrub(&request.question),
            asked_unix_ms: now,
            until_unix_ms: now.saturating_add(timeout),
        };
        let asked = approvals.ask(&call.run, &call.seq, question).map_err(|error| unusable(&error).not_applied())?;
        call.tell(format!("{} (`deployer approve {}`, or `--no`)", asked.question, call.run));
        let answer =
            unless_cancelled(call, self.answer(call, approvals, asked.until_unix_ms, request.timeout.0)).await?;
        Ok(answer)
    }

    async fn answer(
        &self,
        call: &Call,
        approvals: &Approvals,
        until_unix_ms: i64,
        timeout: Duration,
    ) -> Result<Approval, EffectError> {
        // The clock of the day may be set back meanwhile; no wait is longer than was asked for.
        let longest = self.clock.steady_ms() + u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        loop {
            if let Some(answer) = approvals.answered(&call.run, &call.seq).map_err(|error| unusable(&error))? {
                return Ok(answer);
            }
            let now = self.clock.unix_ms();
            if now >= until_unix_ms || self.clock.steady_ms() >= longest {
                // Written like an answer: of a yes that comes at this moment, only one counts.
                approvals.answer(&call.run, &call.seq, &Approval::timed_out(now)).map_err(|error| unusable(&error))?;
                continue;
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }
}

fn unusable(error: &io::Error) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("questions and answers cannot be kept in the state folder: {error}"))
}
