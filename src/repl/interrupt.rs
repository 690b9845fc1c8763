//! Ctrl-C in a session: stops what is under way, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::{Cancel, Gateway};

/// Shared between whoever watches signals and the session.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    under_way: Arc<Mutex<Cancel>>,
    ending: Arc<AtomicBool>,
}

impl Interrupt {
    /// Stops the effect that is under way, if there is one.
    pub fn fire(&self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).forward.cancel();
    }

    /// Stops it, and asks the session to end.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.fire();
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// For whoever waits for it without being able to be woken.
    pub fn ending(&self) -> Arc<AtomicBool> {
        self.ending.clone()
    }

    /// The next input listens to a fresh Ctrl-C.
    pub fn arm(&self, gateway: &Gateway) {
        let cancel = Cancel::default();
        gateway.renew(cancel.clone());
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = cancel;
    }
}
