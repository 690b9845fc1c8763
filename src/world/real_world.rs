//! A real world: one engine for containers, and the services that all engines share. Only this file decides which of
//! the two performs a category of effects.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::approval_store::ApprovalStore;
use super::clock::Clock;
use super::engine::Engine;
use super::services::{EnvLookup, Services};
use super::{Call, World};
use crate::effect::{Effect, EffectError, Outcome};

/// Sends effects on containers, images, volumes, networks and locks to the engine, and all others to the services.
pub struct RealWorld {
    engine_world: Arc<dyn World>,
    services: Services,
}

impl RealWorld {
    /// Combines an engine with the shared services. `engine_world` performs the effects of the engine; `engine` gives
    /// the services access to the same containers.
    pub fn new(engine_world: Arc<dyn World>, engine: Arc<dyn Engine>, env: EnvLookup) -> Self {
        let services = Services::new(engine, engine_world.clock(), env).with_containers(Arc::clone(&engine_world));
        Self { engine_world, services }
    }

    /// Sets where questions to operators are stored.
    #[must_use]
    pub fn with_approvals(self, approvals: ApprovalStore) -> Self {
        Self { services: self.services.with_approvals(approvals), ..self }
    }
}

impl World for RealWorld {
    fn name(&self) -> &'static str {
        self.engine_world.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.engine_world.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        match effect {
            Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Lock(_) => {
                self.engine_world.perform(call, effect)
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
