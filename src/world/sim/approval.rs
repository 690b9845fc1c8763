//! Approval requests, answered by the scenario's approvers. Knows nothing of files.
//!
//! Faults: a rejection, an answer that comes too late, no answer.

use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::effect::EffectError;
use crate::effect::approval::{Approval, ApprovalEffect, ApprovalOutcome};
use crate::world::Call;
use crate::world::clock::Clock;

impl SimHost {
    pub(super) fn approval(&mut self, call: &Call, effect: &ApprovalEffect) -> Result<ApprovalOutcome, EffectError> {
        let ApprovalEffect::Wait(request) = effect;
        request.validate()?;
        if call.cancel.is_cancelled() {
            return Err(EffectError::cancelled().not_applied());
        }
        // A question asked again at the same position keeps its deadline.
        let asked_at = *self.first_asked.entry(call.effect_id()).or_insert_with(|| self.clock.steady_ms());
        let timeout = whole_ms(request.timeout.0);
        let person = self.approvers.iter().find(|person| request.question.contains(&person.asked)).cloned();
        let in_time = person.filter(|person| person.after_ms < timeout);
        let waits_until = asked_at + in_time.as_ref().map_or(timeout, |person| person.after_ms);
        self.advance(waits_until.saturating_sub(self.now()));
        let at_unix_ms = self.clock.unix_ms();
        Ok(ApprovalOutcome::Wait(match in_time {
            Some(person) => Approval {
                approved: person.approves,
                timed_out: false,
                by: Some(person.name),
                note: person.note,
                at_unix_ms,
            },
            None => Approval::timed_out(at_unix_ms),
        }))
    }
}
