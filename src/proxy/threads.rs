//! The threads that serve: each with a runtime of its own, so that a request never changes its core.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Threads at most.
const THREADS_MAX: usize = 64;

/// They end when this is dropped.
#[derive(Debug)]
pub struct Threads {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _end: DropGuard,
}

impl Threads {
    /// # Errors
    /// When the system gives no threads.
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

    /// Runs it on the thread whose turn it is; `make` gets its number.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, make: impl FnOnce(usize) -> F) {
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        if let Some(handle) = self.handles.get(thread) {
            handle.spawn(make(thread));
        }
    }
}
