//! A real world whole: the containers of one engine and the services that all engines share.
//! The one place that says which of the two performs a family.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::approvals::Approvals;
use super::clock::Clock;
use super::engine::Engine;
use super::services::{EnvLookup, Services};
use super::{Call, World};
use crate::effect::{Effect, EffectError, Outcome};

/// `containers` for what runs in the engine, services for everything else.
pub struct RealWorld {
    containers: Arc<dyn World>,
    services: Services,
}

impl RealWorld {
    pub fn new(containers: Arc<dyn World>, engine: Arc<dyn Engine>, env: EnvLookup) -> Self {
        let services = Services::new(engine, containers.clock(), env).with_containers(Arc::clone(&containers));
        Self { containers, services }
    }

    /// With a place where questions to people are kept.
    #[must_use]
    pub fn with_approvals(self, approvals: Approvals) -> Self {
        Self { services: self.services.with_approvals(approvals), ..self }
    }
}

impl World for RealWorld {
    fn name(&self) -> &'static str {
        self.containers.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.containers.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        match effect {
            Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Lock(_) => {
                self.containers.perform(call, effect)
            }
            Effect::Approval(_)
            | Effect::Compose(_)
            | Effect::Health(_)
            | Effect::Http(_)
            | Effect::Git(_)
            | Effect::Sqlite(_)
            | Effect::Object(_)
            | Effect::Notify(_)
            | Effect::Exec(_)
            | Effect::Host(_)
            | Effect::Time(_)
            | Effect::Traffic(_) => Box::pin(self.services.perform(call, effect)),
        }
    }
}
