//! A real world with the services that real worlds share, as the program itself puts them together.

use std::sync::Arc;

use deployer::effect::{Effect, EffectError, Outcome};
use deployer::world::clock::Clock;
use deployer::world::engine::Engine;
use deployer::world::services::Services;
use deployer::world::{Call, World};
use futures_util::future::BoxFuture;

pub struct Joined<W> {
    world: W,
    services: Services,
}

impl<W: World> Joined<W> {
    pub fn new(world: W, engine: Arc<dyn Engine>) -> Self {
        let services = Services::new(engine, world.clock(), Arc::new(|name| std::env::var(name).ok()));
        Self { world, services }
    }
}

impl<W: World> World for Joined<W> {
    fn name(&self) -> &'static str {
        self.world.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.world.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        match effect {
            Effect::Container(_) | Effect::Image(_) | Effect::Volume(_) | Effect::Network(_) | Effect::Lock(_) => {
                self.world.perform(call, effect)
            }
            _ => Box::pin(self.services.perform(call, effect)),
        }
    }
}
