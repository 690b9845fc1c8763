//! What integration tests share: real servers on loopback and an engine whose containers the test controls.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod smtp_receiver;
pub mod twin_engine;
pub mod webhook_receiver;

use std::time::{Duration, Instant};

/// Polls until `done` has something, at most ten seconds.
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "still not so after 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
