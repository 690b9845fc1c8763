//! The one door from scripts to worlds. Whatever must hold for every primitive is a layer here, written once.
//! `stack` is the one place that orders the layers. Knows `trait World`, no concrete world, and no script.

pub mod consent;
pub mod deadline;
pub mod fault;
pub mod fence;
mod gate;
pub mod guard;
pub mod held_locks;
pub mod ledger;
pub mod look;
pub mod record;
pub mod redact;
pub mod replay;
pub mod retry;
pub mod stack;
pub mod trace;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Effect, EffectError, Outcome};
use crate::world::{Call, World};

pub use gate::{Cancel, Gateway};
pub use look::Broken;

/// What a layer is: takes an effect, and hands it on to the next one.
pub trait Door: Send + Sync {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>>;
}

/// What goes through the door together with an effect.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub call: Call,
    /// The script line that asked.
    pub site: Option<Site>,
    /// The effect that this one takes back.
    pub undoes: Option<Seq>,
}

/// The innermost layer: the world itself.
pub(in crate::gateway) struct Floor(pub Arc<dyn World>);

impl Door for Floor {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        self.0.perform(&ticket.call, effect)
    }
}
