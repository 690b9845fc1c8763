//! Threads with a large stack. The depth limits of scripts must be reached before the stack overflows, because an
//! overflow aborts the process.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Stack size of script threads. Only the used part takes memory.
const STACK_BYTES: usize = 256 << 20;

thread_local! {
    /// Whether the current thread has a large stack.
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread with a large stack.
///
/// # Errors
/// Fails if the system cannot start a thread.
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

/// Runs `body` on a thread with a large stack and returns its value. Uses the current thread if its stack is large.
///
/// # Panics
/// Panics if the system cannot start a thread, as [`std::thread::spawn`] does, or if `body` panics.
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
