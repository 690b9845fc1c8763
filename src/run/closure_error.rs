//! Why a closure of `on_rollback` did not complete.

use crate::base::seq::Seq;
use crate::effect::{EffectError, ErrorKind};
use crate::script::program::Failure;

/// Calls the closure that was registered at a position.
pub type CallClosure<'a> = dyn Fn(&Seq) -> Result<(), ClosureError> + 'a;

/// Why a closure of `on_rollback` did not complete.
#[derive(Clone, Debug, PartialEq)]
pub enum ClosureError {
    /// It was not called, for this reason.
    NotCalled(String),
    /// It was called and failed.
    Failed(EffectError),
}

impl From<Failure> for ClosureError {
    fn from(failure: Failure) -> Self {
        let kind = failure.error.as_ref().map_or(ErrorKind::Failed, |error| error.kind);
        Self::Failed(EffectError::new(kind, failure.diagnostic.message.clone()))
    }
}
