//! A service that receives requests: its balancer, which is replaced as a whole, and its counters. Knows no command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderMap;

use super::balancer::Balancer;
use super::hold::Hold;
use super::limits::MIRRORS;
use super::upstream::{InFlightRequest, Upstream};

/// A service, for as long as it has a route. Its targets may change.
#[derive(Debug)]
pub struct RoutedService {
    pub name: String,
    balancer: RwLock<Balancer>,
    turn: AtomicU64,
    /// Mirrored requests in flight.
    mirrors: AtomicU64,
    /// Requests that were considered for mirroring.
    mirror_turn: AtomicU64,
    /// Requests that went to a fallback target.
    pub fallbacks: AtomicU64,
    pub retries: AtomicU64,
    pub turned_away: AtomicU64,
}

/// What to do with a request.
pub enum Admission {
    /// Forward it to this target.
    Forward { request: InFlightRequest, cookie: Option<String> },
    /// Wait until the hold ends.
    Wait(Arc<Hold>),
    /// There is no target, or all have failed.
    NoTarget,
}

impl RoutedService {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            balancer: RwLock::new(Balancer::empty()),
            turn: AtomicU64::new(0),
            mirrors: AtomicU64::new(0),
            mirror_turn: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Replaces the balancer. Afterwards the previous one admits no request, and all that it admitted are counted.
    pub fn replace_balancer(&self, balancer: Balancer) {
        *self.balancer.write().unwrap_or_else(PoisonError::into_inner) = balancer;
    }

    /// Chooses a target and counts the request, both under one lock.
    pub fn admit(&self, thread: usize, headers: &HeaderMap, failed: &[Arc<Upstream>]) -> Admission {
        let balancer = self.balancer.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(hold) = balancer.hold.as_ref().filter(|hold| hold.is_active()) {
            return Admission::Wait(Arc::clone(hold));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(choice) = balancer.choose(turn, headers, failed) else { return Admission::NoTarget };
        if choice.fallback {
            self.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        Admission::Forward { request: choice.candidate.upstream.begin_request(thread), cookie: choice.cookie }
    }

    /// Calls `read` with the current balancer.
    pub fn with_balancer<T>(&self, read: impl FnOnce(&Balancer) -> T) -> T {
        read(&self.balancer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the upstreams of the current balancer.
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.with_balancer(|balancer| {
            balancer.candidates.iter().map(|candidate| Arc::clone(&candidate.upstream)).collect()
        })
    }

    /// Decides whether this request is mirrored. Counts the copy at the mirror when it is.
    pub fn begin_mirror(self: &Arc<Self>, thread: usize) -> Option<(InFlightRequest, MirrorPermit)> {
        let balancer = self.balancer.read().unwrap_or_else(PoisonError::into_inner);
        let (upstream, percent) = balancer.mirror.as_ref()?;
        let turn = self.mirror_turn.fetch_add(1, Ordering::Relaxed);
        // 61 is coprime to 100: any hundred consecutive requests contain the right share, well mixed.
        if turn.wrapping_mul(61) % 100 >= u64::from(*percent) {
            return None;
        }
        let permit = MirrorPermit(Arc::clone(self));
        (self.mirrors.fetch_add(1, Ordering::AcqRel) < MIRRORS).then(|| (upstream.begin_request(thread), permit))
    }
}

/// Counts a mirrored request until it is dropped.
pub struct MirrorPermit(Arc<RoutedService>);

impl Drop for MirrorPermit {
    fn drop(&mut self) {
        self.0.mirrors.fetch_sub(1, Ordering::AcqRel);
    }
}
