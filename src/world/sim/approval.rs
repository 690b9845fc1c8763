//! People who answer, or do not. Knows nothing of files.
//!
//! Faults: no; too late; nobody.

use serde::{Deserialize, Serialize};

use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::effect::approval::{Approval, ApprovalEffect, ApprovalOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// What somebody will say, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Person {
    /// Whoever is asked something that has this text in it.
    pub asked: String,
    pub approves: bool,
    /// Counted from the question.
    pub after_ms: u64,
    pub name: String,
    pub note: Option<String>,
}

impl Default for Person {
    fn default() -> Self {
        Self { asked: String::new(), approves: true, after_ms: 60_000, name: "somebody@here".into(), note: None }
    }
}

impl SimHost {
    pub(super) fn approval(&mut self, call: &Call, effect: &ApprovalEffect) -> Result<ApprovalOutcome, EffectError> {
        let ApprovalEffect::Wait(request) = effect;
        request.check()?;
        if call.cancel.is_cancelled() {
            return Err(EffectError::new(ErrorKind::Cancelled, "cancelled").not_applied());
        }
        // Whoever asks again at this place goes on waiting.
        let asked_at = *self.asked.entry(call.effect_id()).or_insert_with(|| self.clock.steady_ms());
        let timeout = whole_ms(request.timeout.0);
        let person = self.people.iter().find(|person| request.question.contains(&person.asked)).cloned();
        let in_time = person.filter(|person| person.after_ms < timeout);
        let waits_until = asked_at + in_time.as_ref().map_or(timeout, |person| person.after_ms);
        self.pass(waits_until.saturating_sub(self.now()));
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
