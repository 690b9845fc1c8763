//! Work on a database on a thread of its own, which ends when nobody waits for it any more. Knows no request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::InterruptHandle;

use super::super::wait::{cancelled, lost_thread};
use crate::effect::EffectError;

/// Tells the thread that works on a database to stop.
#[derive(Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    handle: Mutex<Option<InterruptHandle>>,
}

impl Stop {
    /// From now on the connection's statements end when they should.
    pub(super) fn watches(&self, connection: &rusqlite::Connection) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.get_interrupt_handle());
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// For loops that are no statement.
    pub(super) fn check(&self) -> Result<(), EffectError> {
        if self.is_asked() { Err(cancelled()) } else { Ok(()) }
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Some(handle) = &*self.handle.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

struct StopOnDrop(Arc<Stop>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// Runs the work; dropping the future stops it.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    let stop = StopOnDrop(Arc::default());
    let shared = Arc::clone(&stop.0);
    tokio::task::spawn_blocking(move || work(&shared)).await.unwrap_or_else(|error| Err(lost_thread(&error)))
}
