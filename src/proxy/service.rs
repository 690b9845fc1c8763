//! A service at work: its plan, which is exchanged whole, and the counting of those who come. Knows no command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderMap;

use super::hold::Hold;
use super::limits::MIRRORS;
use super::plan::Plan;
use super::upstream::{Claim, Upstream};

/// For as long as the service has a route, whatever its targets.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    plan: RwLock<Plan>,
    turn: AtomicU64,
    mirrors: AtomicU64,
    mirrored: AtomicU64,
    /// Requests that went to somebody who stood in.
    pub fallbacks: AtomicU64,
    pub retries: AtomicU64,
    pub turned_away: AtomicU64,
}

/// What a request is to do.
pub enum Admission {
    Go {
        claim: Claim,
        cookie: Option<String>,
    },
    Wait(Arc<Hold>),
    /// There is no target, or all were tried.
    Nobody,
}

impl Service {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            plan: RwLock::new(Plan::empty()),
            turn: AtomicU64::new(0),
            mirrors: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// From here on nobody is admitted by the plan before: whoever was is counted.
    pub fn follow(&self, plan: Plan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Chooses a target and counts the request in, both under one lock.
    pub fn admit(&self, thread: usize, headers: &HeaderMap, tried: &[Arc<Upstream>]) -> Admission {
        let plan = self.plan.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(hold) = plan.hold.as_ref().filter(|hold| hold.in_force()) {
            return Admission::Wait(Arc::clone(hold));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(choice) = plan.choose(turn, headers, tried) else { return Admission::Nobody };
        if choice.fallback {
            self.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        Admission::Go { claim: choice.entry.upstream.claim(thread), cookie: choice.cookie }
    }

    pub fn with_plan<T>(&self, look: impl FnOnce(&Plan) -> T) -> T {
        look(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The place of a copy of this request, when there is to be one.
    pub fn mirror(self: &Arc<Self>, thread: usize) -> Option<(Claim, MirrorPlace)> {
        let plan = self.plan.read().unwrap_or_else(PoisonError::into_inner);
        let (upstream, percent) = plan.mirror.as_ref()?;
        let count = self.mirrored.fetch_add(1, Ordering::Relaxed);
        // 61 is coprime to 100: any hundred requests in a row have the right share, well mixed.
        if count.wrapping_mul(61) % 100 >= u64::from(*percent) {
            return None;
        }
        let place = MirrorPlace(Arc::clone(self));
        (self.mirrors.fetch_add(1, Ordering::AcqRel) < MIRRORS).then(|| (upstream.claim(thread), place))
    }
}

/// Counted out when the copy is done, or was refused.
pub struct MirrorPlace(Arc<Service>);

impl Drop for MirrorPlace {
    fn drop(&mut self) {
        self.0.mirrors.fetch_sub(1, Ordering::AcqRel);
    }
}
