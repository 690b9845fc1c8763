//! What all connections share: the table, the limits, the counters, and the signals that the process ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access_log::AccessLog;
use super::limits::Limits;
use super::table::Table;

/// Of one process.
#[derive(Debug)]
pub struct Shared {
    pub limits: Limits,
    /// There is a proxy in front whose forwarded headers are true.
    pub trusted: bool,
    pub log: Option<AccessLog>,
    table: RwLock<Arc<Table>>,
    /// Places for connections.
    pub places: Arc<Semaphore>,
    /// Places that are kept for whoever comes next, one for each socket.
    pub kept: AtomicU64,
    /// No new connections; those that are open end when they can.
    pub closing: CancellationToken,
    /// What is still open ends at once.
    pub cut: CancellationToken,
    pub cut_streams: CancellationToken,
    pub streams: AtomicU64,
    pub accepted: AtomicU64,
    /// Requests without a route.
    pub unrouted: AtomicU64,
    ids: AtomicU64,
    prefix: u32,
}

impl Shared {
    pub fn new(limits: Limits, trusted: bool, log: Option<AccessLog>, prefix: u32) -> Self {
        Self {
            limits,
            trusted,
            log,
            table: RwLock::default(),
            places: Arc::new(Semaphore::new(limits.connections)),
            kept: AtomicU64::new(0),
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

    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn exchange_table(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Open connections of visitors, upgraded ones included.
    pub fn connections(&self) -> u64 {
        let taken = self.limits.connections.saturating_sub(self.places.available_permits()) as u64;
        taken.saturating_sub(self.kept.load(Ordering::Acquire))
    }

    /// Unlike every other one, in this process and the next.
    pub fn request_id(&self) -> HeaderValue {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut id = [b'0'; 24];
        let mut digits = (u128::from(self.prefix) << 64) | u128::from(number);
        for place in id.iter_mut().rev() {
            *place = b"0123456789abcdef"[(digits & 15) as usize];
            digits >>= 4;
        }
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}
