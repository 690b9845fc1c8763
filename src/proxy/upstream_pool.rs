//! The targets of one service, reused from step to step, with its mirror and its hold. Builds the service's balancer.

use std::sync::{Arc, PoisonError};

use super::balancer::Balancer;
use super::health;
use super::hold::Hold;
use super::routed_service::RoutedService;
use super::state::ServiceState;
use super::upstream::Upstream;
use crate::effect::traffic::{HoldLimits, TargetCheck};

/// The name of the mirror target in statistics.
pub const MIRROR: &str = "mirror";

/// The upstreams of one service.
pub struct UpstreamPool {
    pub service: Arc<RoutedService>,
    targets: Vec<Arc<Upstream>>,
    mirror: Option<Arc<Upstream>>,
    hold: Option<Arc<Hold>>,
}

impl UpstreamPool {
    pub fn new(service: &str) -> Self {
        Self { service: Arc::new(RoutedService::new(service)), targets: Vec::new(), mirror: None, hold: None }
    }

    /// Applies a new state. Returns the hold that has ended, for the caller to release its requests.
    pub fn update(&mut self, seed: &str, state: &ServiceState, threads: usize) -> Option<Arc<Hold>> {
        self.targets = state
            .targets
            .iter()
            .map(|target| {
                self.get_or_create(&state.route.service, &target.name, &target.address, &state.route.check, threads)
            })
            .collect();
        self.mirror = state.mirror.as_ref().map(|mirror| {
            let existing = self.mirror.iter().find(|existing| existing.address == mirror.address);
            existing
                .cloned()
                .unwrap_or_else(|| Arc::new(Upstream::new(MIRROR, &mirror.address, TargetCheck::default(), threads)))
        });
        let previous = self.hold.take();
        self.hold = state.hold.as_ref().map(|state| match &previous {
            Some(hold) if hold.state == *state => Arc::clone(hold),
            _ => Arc::new(Hold::new(state.clone())),
        });
        let (targets, mirror, hold) = (self.targets.clone(), self.mirror.clone(), self.hold.clone());
        self.service.replace_balancer(Balancer::new(seed, state, targets, mirror, hold));
        previous.filter(|previous| self.hold.as_ref().is_none_or(|hold| !Arc::ptr_eq(hold, previous)))
    }

    /// Returns the existing target of this name and address, which keeps its counters, connections and health; or a new
    /// one with a running health check.
    fn get_or_create(
        &self,
        service: &str,
        name: &str,
        address: &str,
        check: &TargetCheck,
        threads: usize,
    ) -> Arc<Upstream> {
        let existing = self.targets.iter().find(|target| target.name == name && target.address == address);
        if let Some(existing) = existing {
            check.clone_into(&mut existing.check.write().unwrap_or_else(PoisonError::into_inner));
            return Arc::clone(existing);
        }
        let upstream = Arc::new(Upstream::new(name, address, check.clone(), threads));
        health::watch(service, &upstream);
        upstream
    }

    /// Stops routing to the targets, because the route was removed. Returns the hold that has ended.
    pub fn clear(&mut self) -> Option<Arc<Hold>> {
        self.service.replace_balancer(Balancer::empty());
        self.hold.take()
    }

    pub fn target(&self, name: &str) -> Option<Arc<Upstream>> {
        self.targets.iter().find(|target| target.name == name).cloned()
    }

    /// Returns the targets and the mirror.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.targets.iter().chain(&self.mirror)
    }

    /// Returns the targets with keys that are the same in every process.
    pub fn keyed(&self, service: &str) -> impl Iterator<Item = (String, Arc<Upstream>)> {
        self.targets.iter().map(move |target| {
            let key = format!("{service}/{}/{}", target.name, target.address);
            (key, Arc::clone(target))
        })
    }

    /// Returns the limits of the hold, while requests are held.
    pub fn hold_limits(&self) -> Option<HoldLimits> {
        let hold = &self.hold.as_ref().filter(|hold| hold.is_active())?.state;
        let (max_requests, max_wait, until_released) = (hold.max_requests, hold.max_wait, hold.until_released);
        Some(HoldLimits { max_requests, max_wait, until_released })
    }

    /// Returns how many requests wait and how many were turned away, while requests are held.
    pub fn hold_counts(&self) -> Option<(u64, u64)> {
        let hold = self.hold.as_ref().filter(|hold| hold.is_active())?;
        Some((hold.waiting(), hold.turned_away()))
    }
}
