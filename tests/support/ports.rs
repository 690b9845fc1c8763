//! Free ports.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range of ephemeral ports, so that no outgoing connection takes a port in the meantime.
const FIRST_PORT: u16 = 12_000;
/// Ports per test process. Large enough that none is reused: a service may release its port for a moment.
const BLOCK: u16 = 240;
const BLOCKS: u16 = 80;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Returns a free port, different from those of recent calls in this process.
///
/// # Panics
/// Panics if all ports in the block of this process are in use.
#[track_caller]
pub fn free_port() -> u16 {
    // Test programs that run at the same time use different blocks.
    let block = FIRST_PORT + u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap() * BLOCK;
    (0..BLOCK)
        .map(|_| block + NEXT.fetch_add(1, Ordering::Relaxed) % BLOCK)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .unwrap_or_else(|| panic!("no free port from {block} on"))
}

/// Returns the first of two consecutive free ports.
///
/// # Panics
/// Panics if there are none.
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
    panic!("no two consecutive free ports")
}
