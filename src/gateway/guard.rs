//! Refuses to take down a container that a route still refers to, undos included: the traffic must be switched away
//! first. Written once, so that no primitive and no script can forget it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Layer, RequestContext};
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::ComposeOutcome;
use crate::effect::traffic::{ForgetRoute, ListRoutes, ListedRoute, TrafficOutcome};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome, TakesDown};

/// Checks the routes before a container is taken down.
pub struct GuardLayer {
    next: Arc<dyn Layer>,
}

impl GuardLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>) -> Self {
        Self { next }
    }

    async fn check(&self, context: &RequestContext, effect: &Effect) -> Result<(), EffectError> {
        match effect.spec().takes_down() {
            TakesDown::Nothing => Ok(()),
            TakesDown::Container(container) => self.check_container(context, &container).await,
            TakesDown::Listed(listing) => {
                // Most hosts with Compose have no routes, and `compose ps` is slow.
                if self.routes(context, None).await?.is_empty() {
                    return Ok(());
                }
                let listed = self.next.perform(context, &listing).await.map_err(EffectError::not_applied)?;
                let Outcome::Compose(ComposeOutcome::Ps(containers)) = listed else { return Ok(()) };
                for container in containers {
                    let known = ContainerRef { key: container.id, name: Some(container.name) };
                    self.check_container(context, &known).await?;
                }
                Ok(())
            }
        }
    }

    async fn check_container(&self, context: &RequestContext, container: &ContainerRef) -> Result<(), EffectError> {
        let routes = self.routes(context, Some(container)).await?;
        match routes.iter().find(|route| !is_held(route)) {
            None => Ok(()),
            Some(route) => Err(refused(container, route)),
        }
    }

    async fn routes(
        &self,
        context: &RequestContext,
        container: Option<&ContainerRef>,
    ) -> Result<Vec<ListedRoute>, EffectError> {
        let read: Effect = ListRoutes { container: container.cloned() }.into();
        match self.next.perform(context, &read).await.map_err(EffectError::not_applied)? {
            Outcome::Traffic(TrafficOutcome::List(listed)) => Ok(listed),
            _ => Ok(Vec::new()),
        }
    }
}

/// Returns whether the route forwards no request until it is released, and its targets have answered those they had.
fn is_held(route: &ListedRoute) -> bool {
    route.view.as_ref().is_some_and(|view| {
        let is_held = view.hold.as_ref().is_some_and(|hold| hold.until_released);
        is_held && view.targets.iter().all(|target| target.draining || target.in_flight == 0)
    })
}

fn refused(container: &ContainerRef, route: &ListedRoute) -> EffectError {
    let service = &route.service;
    match &route.error {
        None => EffectError::new(
            ErrorKind::Conflict,
            format!("the route of `{service}` still refers to container `{container}`: it would lose requests"),
        )
        .hint(format!(
            "send the traffic elsewhere first: `traffic_switch`, `traffic_drain`, then `traffic_set` without it; or \
             remove the route: `traffic_forget(\"{service}\")`"
        )),
        Some(why) => EffectError::new(
            ErrorKind::Conflict,
            format!(
                "the route of `{service}` may refer to container `{container}`, and its driver `{}` does not answer: \
                 {}",
                route.driver, why.message
            ),
        )
        .hint(format!(
            "{}; or, if it is permanently gone: `{}`",
            why.hint.clone().unwrap_or_else(|| format!("start `{}`, and try again", route.driver)),
            ForgetRoute::script_for_gone_driver(service)
        )),
    }
    .not_applied()
}

impl Layer for GuardLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            self.check(context, effect).await?;
            self.next.perform(context, effect).await
        })
    }
}
