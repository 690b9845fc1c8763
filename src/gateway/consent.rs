//! Asks a person before something live is stopped or removed. Knows what counts as live, and nothing of how one asks.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ledger::Ledger;
use super::{Door, Ticket};
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::ComposeEffect;
use crate::effect::container::{ContainerEffect, ContainerOutcome, InspectContainer};
use crate::effect::traffic::TrafficEffect;
use crate::effect::volume::VolumeEffect;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// Whoever answers for a person.
pub trait Consent: Send + Sync {
    /// Whether it may be done. Blocks as long as the person thinks.
    fn allow(&self, question: &str) -> bool;

    /// What to type where nobody can be asked.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

pub struct Ask {
    next: Arc<dyn Door>,
    ledger: Arc<Ledger>,
    consent: Arc<dyn Consent>,
}

impl Ask {
    pub fn new(next: Arc<dyn Door>, ledger: Arc<Ledger>, consent: Arc<dyn Consent>) -> Self {
        Self { next, ledger, consent }
    }

    /// What must be asked; none when nothing live is at stake.
    async fn question(&self, ticket: &Ticket, effect: &Effect) -> Option<String> {
        match effect {
            Effect::Container(ContainerEffect::Stop(request)) => {
                self.of_live(ticket, &request.container, "stops").await
            }
            Effect::Container(ContainerEffect::Kill(request)) => {
                self.of_live(ticket, &request.container, "kills").await
            }
            Effect::Container(ContainerEffect::Remove(request)) => {
                self.of_live(ticket, &request.container, "kills and removes").await
            }
            // To take a volume back is to remove one that this very run made.
            Effect::Volume(VolumeEffect::Remove(request)) if ticket.undoes.is_none() => {
                Some(format!("removes volume `{}` and all that is in it", request.name))
            }
            Effect::Traffic(TrafficEffect::Forget(_)) => {
                Some(format!("closes {}: nobody answers there any more", effect.facts().subject()))
            }
            Effect::Compose(ComposeEffect::Stop(_)) => Some(format!("stops {}", effect.facts().subject())),
            _ => None,
        }
    }

    async fn of_live(&self, ticket: &Ticket, container: &ContainerRef, does: &str) -> Option<String> {
        let look: Effect = InspectContainer { container: container.clone(), missing_ok: true }.into();
        // Whoever cannot be looked at may be live.
        let Ok(outcome) = self.next.perform(ticket, &look).await else {
            return Some(format!("{does} `{container}`, which does not tell whether it is live"));
        };
        let Outcome::Container(ContainerOutcome::Inspect(Some(found))) = outcome else { return None };
        let ports = found.ports.iter().map(|port| format!(", port {}", port.host_port)).collect::<String>();
        found.is_running().then(|| format!("{does} `{}`, which runs ({}{ports})", found.name, found.image))
    }
}

impl Door for Ask {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            // Whoever takes a whole run back has asked for all of it.
            if !self.ledger.unwinding()
                && let Some(question) = self.question(ticket, effect).await
                && !self.consent.allow(&format!("`{}` {question}", effect.kind()))
            {
                let message = format!("`{}` is not allowed: it {question}", effect.kind());
                let error = EffectError::new(ErrorKind::Refused, message).not_applied();
                return Err(self.consent.hint().into_iter().fold(error, EffectError::hint));
            }
            self.next.perform(ticket, effect).await
        })
    }
}
