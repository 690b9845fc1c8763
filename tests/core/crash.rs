//! Worlds for crash tests: one that stops when its process crashes, and one that repeats effects.

use std::sync::Arc;

use deployer::effect::{Access, Effect, EffectError, Outcome, Recovery};
pub use deployer::journal::crashing_journal::{Crash, CrashPoint};
use deployer::journal::{Journal, crashing_journal::CrashingJournal};
use deployer::verify::crash::CrashingWorld;
use deployer::world::clock::Clock;
use deployer::world::{Call, World};
use futures_util::future::BoxFuture;

/// Wraps the journal and the world of a process that crashes.
pub fn crashing(
    crash: &Arc<Crash>,
    journal: Arc<dyn Journal>,
    world: Arc<dyn World>,
) -> (Arc<dyn Journal>, Arc<dyn World>) {
    let journal = CrashingJournal::new(journal, crash.clone(), || {});
    (Arc::new(journal), Arc::new(CrashingWorld::new(world, crash.clone())))
}

/// A world that performs every effect that is safe to repeat twice, as if the first answer were lost.
pub struct RepeatingWorld(pub Arc<dyn World>);

impl World for RepeatingWorld {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let spec = effect.spec();
            if spec.access() == Access::Write && spec.recovery() == Recovery::Repeat {
                self.0.perform(call, effect).await?;
            }
            self.0.perform(call, effect).await
        })
    }
}
