//! Threads with a stack that every script fits in: limits on depth must be met before the stack ends, which would
//! end the whole process. Knows nothing of scripts.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Only what is used of it takes memory.
const STACK_BYTES: usize = 256 << 20;

thread_local! {
    /// Whether this thread has such a stack already.
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread with such a stack.
///
/// # Errors
/// When the system has no room for one.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    let body = || {
        IS_DEEP.set(true);
        body()
    };
    Builder::new().name("script".into()).stack_size(STACK_BYTES).spawn_scoped(scope, body)
}

/// Runs `body` on such a thread, on this one if it is one, and waits for it. Without room for a thread it panics, as
/// [`std::thread::spawn`] does.
pub fn deep<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    if IS_DEEP.get() {
        return body();
    }
    std::thread::scope(|scope| match spawn(scope, body).map(ScopedJoinHandle::join) {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
    })
}
