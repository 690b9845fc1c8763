//! Ports that nobody listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the kernel gives to outgoing connections, so that none of them takes a port in between.
const FIRST: u16 = 12_000;
/// More than one process ever asks for: a port that comes round again may be one that a service lets go of for a moment.
const BLOCK: u16 = 240;
const BLOCKS: u16 = 80;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free now, and that no other call in this process returns soon.
///
/// # Panics
/// When all of this process's block are taken.
#[track_caller]
pub fn free_port() -> u16 {
    // Test binaries that run side by side begin in blocks of their own.
    let block = FIRST + u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap() * BLOCK;
    (0..BLOCK)
        .map(|_| block + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCK)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .unwrap_or_else(|| panic!("no free port from {block} on"))
}

/// The first of two ports in a row that are free now.
///
/// # Panics
/// When there are none.
#[track_caller]
pub fn free_pair() -> u16 {
    let mut last = free_port();
    for _ in 0..BLOCK {
        let next = free_port();
        if next == last + 1 {
            return last;
        }
        last = next;
    }
    panic!("no two free ports in a row")
}
