//! The single path from scripts to worlds. What must hold for every primitive is a layer here, written once.
//! [`stack`] is the one place that orders the layers. Knows `trait World`, but no concrete world and no script.

pub mod consent;
pub mod deadline;
pub mod fault;
pub mod fence;
mod gate;
pub mod guard;
pub mod held_locks;
pub mod ledger;
pub mod record;
pub mod redact;
pub mod replay;
pub mod retry;
pub mod simulation;
pub mod stack;
pub mod trace;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Effect, EffectError, Outcome};
use crate::world::{Call, World};

pub use gate::{Cancel, Gateway};
pub use simulation::BrokenExpectation;

/// A cross-cutting concern: takes an effect and passes it to the next layer.
pub trait Layer: Send + Sync {
    /// Performs the effect, usually through the next layer.
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>>;
}

/// What accompanies an effect through the layers.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The call that reaches the world.
    pub call: Call,
    /// The script line that requested the effect.
    pub site: Option<Site>,
    /// The effect that this one undoes.
    pub undoes: Option<Seq>,
}

/// The innermost layer: the world itself.
pub(in crate::gateway) struct WorldLayer(pub Arc<dyn World>);

impl Layer for WorldLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        self.0.perform(&context.call, effect)
    }
}
