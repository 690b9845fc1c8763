//! Work on a database on threads of its own. It stops when the caller drops the future. Knows no request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::InterruptHandle;

use crate::effect::{EffectError, ErrorKind};
use crate::world::services::cancellation::{cancelled, run_blocking};

/// Tells the threads that work on a database to stop.
#[derive(Default)]
pub(super) struct StopSignal {
    is_set: AtomicBool,
    connections: Mutex<Vec<InterruptHandle>>,
}

impl StopSignal {
    /// Makes the signal interrupt the statements of this connection, too.
    pub(super) fn watch(&self, connection: &rusqlite::Connection) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection.get_interrupt_handle());
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Fails with `cancelled` once the signal is set. For loops outside a statement.
    pub(super) fn check(&self) -> Result<(), EffectError> {
        if self.is_set() { Err(cancelled()) } else { Ok(()) }
    }

    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter().for_each(InterruptHandle::interrupt);
    }
}

struct StopOnDrop(Arc<StopSignal>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Runs work on a thread of its own. Dropping the future stops the work.
pub(super) async fn run_on_thread<T: Send + 'static>(
    work: impl FnOnce(&StopSignal) -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    let stop = StopOnDrop(Arc::default());
    let shared = Arc::clone(&stop.0);
    run_blocking(move || work(&shared)).await
}

/// Runs both at the same time, the first on a thread of its own. If both fail, returns the error of the first.
pub(super) fn join<A: Send, B>(
    first: impl FnOnce() -> Result<A, EffectError> + Send,
    second: impl FnOnce() -> Result<B, EffectError>,
) -> Result<(A, B), EffectError> {
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join(), second)
    });
    let panicked = |_| Err(EffectError::new(ErrorKind::Internal, "a worker thread failed"));
    Ok((first.unwrap_or_else(panicked)?, second?))
}
