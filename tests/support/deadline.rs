//! Polling with a deadline. Tests must not wait in any other way.

use std::thread;
use std::time::{Duration, Instant};

/// Time between two polls.
pub const PAUSE: Duration = Duration::from_millis(10);

/// Polls until `poll` returns a value.
///
/// # Panics
/// Panics if there is no value within `timeout`.
#[track_caller]
pub fn until<T>(what: &str, timeout: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + timeout;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {timeout:?}");
        thread::sleep(PAUSE);
    }
}
