//! Sends simulated notifications to an outbox. Knows nothing of mail or webhooks.
//!
//! Faults: a failed delivery (reported in the outcome, never as an error); a notification without its address.

use super::sim_host::SimHost;
use crate::effect::EffectError;
use crate::effect::notify::{Notified, NotifyEffect, NotifyOutcome};
use crate::world::Call;

impl SimHost {
    pub(super) fn notify(&mut self, call: &Call, effect: &NotifyEffect) -> Result<NotifyOutcome, EffectError> {
        let NotifyEffect::Send(request) = effect;
        request.validate()?;
        for text in [&request.url, &request.username, &request.password].into_iter().flatten() {
            call.vault.reveal(text)?;
        }
        if let Some(why) = &self.outbox.fails {
            return Ok(NotifyOutcome::Send(Notified { delivered: false, error: Some(why.clone()) }));
        }
        self.outbox.sent.push(request.as_ref().clone());
        Ok(NotifyOutcome::Send(Notified { delivered: true, error: None }))
    }
}
