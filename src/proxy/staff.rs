//! Who works for a service: its targets, kept from step to step, its mirror and its hold. Makes its plans.

use std::sync::{Arc, PoisonError};

use super::health;
use super::hold::Hold;
use super::plan::Plan;
use super::service::Service;
use super::state::ServiceState;
use super::upstream::Upstream;
use crate::effect::traffic::TargetCheck;

/// What statistics call the target that gets copies.
pub const MIRROR: &str = "mirror";

pub struct Staff {
    pub service: Arc<Service>,
    targets: Vec<Arc<Upstream>>,
    mirror: Option<Arc<Upstream>>,
    hold: Option<Arc<Hold>>,
}

impl Staff {
    pub fn new(service: &str) -> Self {
        Self { service: Arc::new(Service::new(service)), targets: Vec::new(), mirror: None, hold: None }
    }

    /// Works as `own` says from now on; gives the hold that is over, for its visitors to be let go.
    pub fn follow(&mut self, seed: &str, own: &ServiceState, threads: usize) -> Option<Arc<Hold>> {
        self.targets = own
            .targets
            .iter()
            .map(|target| self.employ(&own.route.service, &target.name, &target.address, &own.route.check, threads))
            .collect();
        self.mirror = own.mirror.as_ref().map(|mirror| {
            let same = self.mirror.iter().find(|one| one.address == mirror.address);
            same.cloned()
                .unwrap_or_else(|| Arc::new(Upstream::new(MIRROR, &mirror.address, TargetCheck::default(), threads)))
        });
        let before = self.hold.take();
        self.hold = own.hold.as_ref().map(|state| match &before {
            Some(hold) if hold.state == *state => Arc::clone(hold),
            _ => Arc::new(Hold::new(state.clone())),
        });
        self.service.follow(Plan::new(seed, own, self.targets.clone(), self.mirror.clone(), self.hold.clone()));
        let over = |before: &Arc<Hold>| self.hold.as_ref().is_none_or(|hold| !Arc::ptr_eq(hold, before));
        before.filter(over)
    }

    /// The same target, when it is here already: its counts, its connections and its health go on.
    fn employ(&self, service: &str, name: &str, address: &str, check: &TargetCheck, threads: usize) -> Arc<Upstream> {
        let same = self.targets.iter().find(|one| one.name == name && one.address == address);
        if let Some(same) = same {
            check.clone_into(&mut same.check.write().unwrap_or_else(PoisonError::into_inner));
            return Arc::clone(same);
        }
        let fresh = Arc::new(Upstream::new(name, address, check.clone(), threads));
        health::watch(service, &fresh);
        fresh
    }

    /// Its route is gone.
    pub fn dismiss(&mut self) -> Option<Arc<Hold>> {
        self.service.follow(Plan::empty());
        self.hold.take()
    }

    pub fn target(&self, name: &str) -> Option<Arc<Upstream>> {
        self.targets.iter().find(|one| one.name == name).cloned()
    }

    /// The targets, and the mirror.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.targets.iter().chain(&self.mirror)
    }

    /// The same, with keys that mean the same in every process.
    pub fn keyed(&self, service: &str) -> impl Iterator<Item = (String, Arc<Upstream>)> {
        self.targets.iter().map(move |one| (format!("{service}/{}/{}", one.name, one.address), Arc::clone(one)))
    }

    /// Who waits and who was turned away, when requests are held.
    pub fn held(&self) -> Option<(u64, u64)> {
        let hold = self.hold.as_ref().filter(|hold| hold.in_force())?;
        Some((hold.waiting(), hold.turned_away()))
    }
}
