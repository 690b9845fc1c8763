//! The outbox: notifications that were sent. Knows nothing of mail or webhooks.
//!
//! Faults: nothing can be delivered (told in the reply, never an error); a notification without its address.

use serde::{Deserialize, Serialize};

use super::sim_host::SimHost;
use crate::effect::notify::{Channel, Notified, Notify, NotifyEffect, NotifyOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What was sent, and whether sending works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// Why nothing can be delivered.
    pub fails: Option<String>,
    pub sent: Vec<Notify>,
}

impl SimHost {
    pub(super) fn notify(&mut self, call: &Call, effect: &NotifyEffect) -> Result<NotifyOutcome, EffectError> {
        let NotifyEffect::Send(request) = effect;
        let complete = match request.channel {
            Channel::Email => request.smtp.is_some() && !request.to.is_empty(),
            _ => request.url.is_some(),
        };
        if !complete {
            let needs = if request.channel == Channel::Email { "`smtp` and `to`" } else { "`url`" };
            return Err(EffectError::new(ErrorKind::Invalid, format!("`notify` needs {needs} here")).not_applied());
        }
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
