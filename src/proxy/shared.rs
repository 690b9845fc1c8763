//! The state that all connections share: route table, limits, counters and shutdown signals.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access_log::AccessLog;
use super::limits::Limits;
use super::route_table::RouteTable;
use super::trusted_networks::TrustedNetworks;

/// The shared state of one process.
#[derive(Debug)]
pub struct Shared {
    pub limits: Limits,
    /// The networks of the proxies in front, whose forwarded headers are kept.
    pub trusted: TrustedNetworks,
    pub log: Option<AccessLog>,
    table: RwLock<Arc<RouteTable>>,
    /// One permit for each connection that may be open.
    pub slots: Arc<Semaphore>,
    /// Slots reserved for the next connection, one for each socket.
    pub reserved: AtomicU64,
    /// Cancelled when shutdown begins: open connections end after their requests.
    pub closing: CancellationToken,
    /// Cancelled at the deadline of shutdown: open connections end at once.
    pub cut: CancellationToken,
    /// The same for upgraded streams.
    pub cut_streams: CancellationToken,
    /// Open upgraded streams.
    pub streams: AtomicU64,
    /// Accepted connections.
    pub accepted: AtomicU64,
    /// Requests without a route.
    pub unrouted: AtomicU64,
    ids: AtomicU64,
    prefix: u32,
}

impl Shared {
    pub fn new(limits: Limits, trusted: TrustedNetworks, log: Option<AccessLog>, prefix: u32) -> Self {
        Self {
            limits,
            trusted,
            log,
            table: RwLock::default(),
            slots: Arc::new(Semaphore::new(limits.connections)),
            reserved: AtomicU64::new(0),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            cut_streams: CancellationToken::new(),
            streams: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            unrouted: AtomicU64::new(0),
            ids: AtomicU64::new(0),
            prefix,
        }
    }

    pub fn table(&self) -> Arc<RouteTable> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace_table(&self, table: RouteTable) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Returns the number of open client connections, upgraded ones included.
    pub fn connections(&self) -> u64 {
        let taken = self.limits.connections.saturating_sub(self.slots.available_permits()) as u64;
        taken.saturating_sub(self.reserved.load(Ordering::Acquire))
    }

    /// Returns a request id that is unique, also across processes.
    pub fn request_id(&self) -> HeaderValue {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut id = [b'0'; 24];
        let mut digits = (u128::from(self.prefix) << 64) | u128::from(number);
        for digit in id.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(digits & 15) as usize];
            digits >>= 4;
        }
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}
