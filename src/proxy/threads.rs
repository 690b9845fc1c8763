//! The serving threads. Each has a runtime of its own, so that a request never moves to another thread.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The maximum number of threads.
const THREADS_MAX: usize = 64;

/// The serving threads; they end when this is dropped.
#[derive(Debug)]
pub struct Threads {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _end: DropGuard,
}

impl Threads {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn start(count: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let mut handles = Vec::new();
        for number in 0..count.clamp(1, THREADS_MAX) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let end = end.clone();
            std::thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || runtime.block_on(end.cancelled()))?;
        }
        Ok(Self { handles, next: AtomicUsize::new(0), _end: end.drop_guard() })
    }

    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// Runs a task on the next thread in turn. `make` receives the thread's number.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, make: impl FnOnce(usize) -> F) {
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        if let Some(handle) = self.handles.get(thread) {
            handle.spawn(make(thread));
        }
    }
}
