//! Work on a database on threads of its own, which end when nobody waits for them any more. Knows no request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::InterruptHandle;

use super::super::wait::{cancelled, lost_thread};
use crate::effect::{EffectError, ErrorKind};

/// Tells the threads that work on a database to stop.
#[derive(Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    handles: Mutex<Vec<InterruptHandle>>,
}

impl Stop {
    /// From now on the connection's statements end when they should.
    pub(super) fn watches(&self, connection: &rusqlite::Connection) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).push(connection.get_interrupt_handle());
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
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().for_each(InterruptHandle::interrupt);
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

/// Does both at once, the first on a thread of its own; its error comes first.
pub(super) fn both<A: Send, B>(
    first: impl FnOnce() -> Result<A, EffectError> + Send,
    second: impl FnOnce() -> Result<B, EffectError>,
) -> Result<(A, B), EffectError> {
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join(), second)
    });
    let lost = |_| Err(EffectError::new(ErrorKind::Internal, "a worker thread was lost"));
    Ok((first.unwrap_or_else(lost)?, second?))
}
