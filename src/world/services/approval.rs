//! `approval_wait`: writes the question to the state folder, and waits for the answer of `deployer approve`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::cancellation::unless_cancelled;
use crate::effect::approval::{Approval, ApprovalEffect, ApprovalOutcome, AwaitApproval};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::approval_store::{ApprovalQuestion, ApprovalStore};
use crate::world::clock::Clock;

/// How often the state folder is checked for an answer.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Performs `approval_wait`.
pub(crate) struct ApprovalService {
    clock: Arc<dyn Clock>,
    approvals: Option<ApprovalStore>,
}

impl ApprovalService {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, approvals: None }
    }

    pub(crate) fn with_approvals(self, approvals: ApprovalStore) -> Self {
        Self { approvals: Some(approvals), ..self }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &ApprovalEffect) -> Result<ApprovalOutcome, EffectError> {
        let ApprovalEffect::Wait(request) = effect;
        self.await_approval(call, request).await.map(ApprovalOutcome::Wait)
    }

    async fn await_approval(&self, call: &Call, request: &AwaitApproval) -> Result<Approval, EffectError> {
        request.validate()?;
        let approvals = self.approvals.as_ref().ok_or_else(|| {
            EffectError::new(ErrorKind::Unsupported, "there is no state folder to keep the question and its answer in")
                .not_applied()
        })?;
        let now = self.clock.unix_ms();
        let timeout = i64::try_from(request.timeout.0.as_millis()).unwrap_or(i64::MAX);
        let question = ApprovalQuestion {
            question: call.vault.scrub(&request.question),
            asked_unix_ms: now,
            until_unix_ms: now.saturating_add(timeout),
        };
        let asked = approvals.ask(&call.run, &call.seq, question).map_err(|error| unusable(&error).not_applied())?;
        call.report_progress(format!("{} (`deployer approve {}`, or `--no`)", asked.question, call.run));
        unless_cancelled(call, self.await_answer(call, approvals, asked.until_unix_ms, request.timeout.0)).await
    }

    async fn await_answer(
        &self,
        call: &Call,
        approvals: &ApprovalStore,
        until_unix_ms: i64,
        timeout: Duration,
    ) -> Result<Approval, EffectError> {
        // The wall clock may be set back during the wait; the steady clock still ends it in time.
        let steady_deadline = self.clock.steady_ms() + u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        loop {
            if let Some(answer) = approvals.answered(&call.run, &call.seq).map_err(|error| unusable(&error))? {
                return Ok(answer);
            }
            let now = self.clock.unix_ms();
            if now >= until_unix_ms || self.clock.steady_ms() >= steady_deadline {
                // The timeout is written like any answer, so that it and a late `yes` cannot both count.
                approvals.answer(&call.run, &call.seq, &Approval::timed_out(now)).map_err(|error| unusable(&error))?;
                continue;
            }
            self.clock.sleep(POLL_INTERVAL).await;
        }
    }
}

fn unusable(error: &io::Error) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("cannot keep questions and answers in the state folder: {error}"))
}
