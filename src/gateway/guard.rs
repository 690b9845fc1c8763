//! Keeps everybody from taking down a container that a route still refers to, taking back included: whoever stops it
//! must let the requests go elsewhere first. Written once, so that no primitive and no script can forget it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Door, Ticket};
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::ComposeOutcome;
use crate::effect::traffic::{ForgetRoute, ListRoutes, Listed, TrafficOutcome};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome, TakesDown};

pub struct Guard {
    next: Arc<dyn Door>,
}

impl Guard {
    pub fn new(next: Arc<dyn Door>) -> Self {
        Self { next }
    }

    async fn check(&self, ticket: &Ticket, effect: &Effect) -> Result<(), EffectError> {
        match effect.facts().takes_down() {
            TakesDown::Nobody => Ok(()),
            TakesDown::Container(container) => self.check_container(ticket, &container).await,
            TakesDown::Compose(project) => {
                // Most hosts with compose have no routes, and its program is slow to ask.
                if self.routes(ticket, None).await?.is_empty() {
                    return Ok(());
                }
                let listed = self.next.perform(ticket, &(*project).into()).await.map_err(EffectError::not_applied)?;
                let Outcome::Compose(ComposeOutcome::Ps(containers)) = listed else { return Ok(()) };
                for container in containers {
                    let known = ContainerRef { key: container.id, name: Some(container.name) };
                    self.check_container(ticket, &known).await?;
                }
                Ok(())
            }
        }
    }

    async fn check_container(&self, ticket: &Ticket, container: &ContainerRef) -> Result<(), EffectError> {
        match self.routes(ticket, Some(container)).await?.first() {
            None => Ok(()),
            Some(route) => Err(refused(container, route)),
        }
    }

    async fn routes(&self, ticket: &Ticket, container: Option<&ContainerRef>) -> Result<Vec<Listed>, EffectError> {
        let read: Effect = ListRoutes { container: container.cloned() }.into();
        match self.next.perform(ticket, &read).await.map_err(EffectError::not_applied)? {
            Outcome::Traffic(TrafficOutcome::List(listed)) => Ok(listed),
            _ => Ok(Vec::new()),
        }
    }
}

fn refused(container: &ContainerRef, route: &Listed) -> EffectError {
    let service = &route.service;
    match &route.error {
        None => EffectError::new(
            ErrorKind::Conflict,
            format!("the route of `{service}` still refers to container `{container}`: it would lose requests"),
        )
        .hint(format!(
            "let them go elsewhere first: `traffic_switch`, `traffic_drain`, then `traffic_set` without it; or give \
             the route up: `traffic_forget(\"{service}\")`"
        )),
        Some(why) => EffectError::new(
            ErrorKind::Conflict,
            format!(
                "the route of `{service}` may refer to container `{container}`, and its driver `{}` cannot be asked: \
                 {}",
                route.driver, why.message
            ),
        )
        .hint(format!(
            "{}; or, if it is gone for good: `{}`",
            why.hint.clone().unwrap_or_else(|| format!("start `{}`, and try again", route.driver)),
            ForgetRoute::of_gone_driver(service)
        )),
    }
    .not_applied()
}

impl Door for Guard {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            self.check(ticket, effect).await?;
            self.next.perform(ticket, effect).await
        })
    }
}
