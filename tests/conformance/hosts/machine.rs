//! What the real hosts take from this machine: free ports, and the holder of a lock that is dead.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use deployer::world::holder::Holder;

/// Below the range that the kernel and the engine choose from.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// Gives every caller another port that nobody listens on.
pub struct Ports(AtomicU16);

impl Default for Ports {
    fn default() -> Self {
        let start = std::process::id() % u32::from(PORTS);
        Self(AtomicU16::new(u16::try_from(start).unwrap()))
    }
}

impl Ports {
    pub fn next(&self) -> u16 {
        (0..PORTS)
            .map(|_| FIRST_PORT + self.0.fetch_add(1, Ordering::Relaxed) % PORTS)
            .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
            .expect("a free port")
    }
}

pub fn this_process() -> Holder {
    Holder::this_process().expect("what /proc says of this process")
}

/// This machine's process of before: one that had the same pid and has ended.
pub fn dead_holder() -> Holder {
    let here = this_process();
    Holder { process_start: here.process_start + 1, ..here }
}
