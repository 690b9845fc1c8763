//! What visitors of a route get, at an instant. Knows nothing of how routes are changed.
//!
//! Faults: none of its own; nobody may be well behind a route.

use super::behaviour::Page;
use super::http::{Answer, Place};
use super::sim_host::SimHost;
use crate::effect::traffic::Target;

impl SimHost {
    /// What this target would answer now.
    pub(super) fn answer_of(&self, target: &Target, path: &str) -> Option<Answer> {
        self.answer_of_at(target, path, self.now())
    }

    fn answer_of_at(&self, target: &Target, path: &str, at: u64) -> Option<Answer> {
        let (host, port) = target.address.rsplit_once(':')?;
        match self.place_at(host, port.parse().ok()?, &target.address) {
            Place::Port(port) => self.answer_at(port, path, at),
            Place::Inside(name, port) => {
                let container = self.containers.get(&name)?;
                let page = container.answer(port, path, at)?;
                let image = Some(container.spec.image.clone());
                Some(Answer { container: Some(name), image, page })
            }
            Place::Away(address) => {
                Some(Answer { container: None, image: None, page: self.web.get(&address)?.clone() })
            }
        }
    }

    /// The service whose driver listens on this port of the host.
    pub(super) fn routed_port(&self, port: u16) -> Option<&str> {
        self.routes.iter().find(|(_, known)| known.listens(port)).map(|(service, _)| service.as_str())
    }

    /// What a visitor gets from the route that listens on this port; none without a route. Requests that are held
    /// are answered by whoever is there when they go on: they wait.
    pub(super) fn routed(&self, port: u16, path: &str, at: u64) -> Option<Answer> {
        let known = self.routes.values().find(|known| known.listens(port))?;
        let found = known.in_turn().find_map(|target| self.answer_of_at(target, path, at));
        let nobody = || Answer { container: None, image: None, page: Page::status(503) };
        Some(found.unwrap_or_else(nobody))
    }

    /// Whether requests to this port wait at that instant.
    pub(super) fn holds(&self, port: u16, at: u64) -> bool {
        self.routes.values().any(|known| known.listens(port) && known.is_held(at))
    }

    /// A target on this port that gets requests at that instant, and answers none.
    pub(super) fn misdirected(&self, port: u16, path: &str, at: u64) -> Option<String> {
        let known = self.routes.values().find(|known| known.listens(port) && !known.is_held(at))?;
        let live = known.targets.iter().filter(|target| target.weight > 0 && !known.draining.contains(&target.name));
        live.into_iter().find(|target| self.answer_of_at(target, path, at).is_none()).map(|target| target.name.clone())
    }
}
