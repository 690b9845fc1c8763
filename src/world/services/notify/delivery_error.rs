//! Why a notification could not be delivered or built.

use crate::effect::EffectError;

/// The reason that a message did not arrive.
#[derive(Debug)]
pub(super) struct DeliveryError {
    pub reason: String,
    /// Whether the receiver certainly did not get the message, so that a retry cannot send it twice.
    pub may_retry: bool,
}

/// The error of a request from which no message can be built.
pub(super) fn invalid(message: impl Into<String>) -> EffectError {
    EffectError::invalid(message)
}
