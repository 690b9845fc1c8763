//! Ctrl-C in a session: cancels the current effect, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::{Cancel, Gateway};

/// Shared between the signal handler and the session.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    current: Arc<Mutex<Cancel>>,
    ending: Arc<AtomicBool>,
}

impl Interrupt {
    /// Cancels the current effect, if there is one.
    pub fn fire(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).forward.cancel();
    }

    /// Cancels the current effect and asks the session to end.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.fire();
    }

    /// Whether the session was asked to end.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Returns the flag for code that polls it.
    pub fn ending(&self) -> Arc<AtomicBool> {
        self.ending.clone()
    }

    /// Prepares the gateway for the next input, so that an earlier Ctrl-C no longer applies.
    pub fn arm(&self, gateway: &Gateway) {
        let cancel = Cancel::default();
        gateway.renew(cancel.clone());
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = cancel;
    }
}
