//! What clients of a route get at a given time. Knows nothing of how routes are changed.
//!
//! Faults: none of its own; all targets behind a route may be unhealthy.

use crate::effect::traffic::Target;
use crate::world::sim::http::{Endpoint, ServedResponse};
use crate::world::sim::model::behaviour::SimResponse;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    /// Returns what this target would respond now.
    pub(crate) fn target_response(&self, target: &Target, path: &str) -> Option<ServedResponse> {
        self.target_response_at(target, path, self.now())
    }

    fn target_response_at(&self, target: &Target, path: &str, at: u64) -> Option<ServedResponse> {
        let (host, port) = target.address.rsplit_once(':')?;
        match self.endpoint_at(host, port.parse().ok()?, &target.address) {
            Endpoint::Port(port) => self.response_on_port_at(port, path, at),
            Endpoint::Container(name, port) => {
                let container = self.containers.get(&name)?;
                let response = container.respond(port, path, at)?;
                let image = Some(container.spec.image.clone());
                Some(ServedResponse { container: Some(name), image, response })
            }
            Endpoint::Remote(address) => Some(ServedResponse {
                container: None,
                image: None,
                response: self.remote_responses.get(&address)?.clone(),
            }),
        }
    }

    /// Returns the service whose driver listens on this host port.
    pub(crate) fn service_on_port(&self, port: u16) -> Option<&str> {
        self.routes.iter().find(|(_, known)| known.listens(port)).map(|(service, _)| service.as_str())
    }

    /// Returns what a client gets from the route that listens on this port, or `None` without a route. A held request
    /// waits and is answered by the target that is live when it is released.
    pub(crate) fn route_response(&self, port: u16, path: &str, at: u64) -> Option<ServedResponse> {
        let known = self.routes.values().find(|known| known.listens(port))?;
        if known.is_closed(at) && !known.is_held(at) {
            return Some(ServedResponse { container: None, image: None, response: SimResponse::status(503) });
        }
        let found = known.serving_order().find_map(|target| self.target_response_at(target, path, at));
        let no_target = || ServedResponse { container: None, image: None, response: SimResponse::status(503) };
        Some(found.unwrap_or_else(no_target))
    }

    /// Returns whether requests to this port are held at the given time.
    pub(crate) fn holds_requests(&self, port: u16, at: u64) -> bool {
        self.routes.values().any(|known| known.listens(port) && known.is_held(at))
    }

    /// Returns a target on this port that gets requests at the given time but does not respond.
    pub(crate) fn dead_target(&self, port: u16, path: &str, at: u64) -> Option<String> {
        let known = self.routes.values().find(|known| known.listens(port) && !known.is_closed(at))?;
        let live = known.targets.iter().filter(|target| target.weight > 0 && !known.draining.contains(&target.name));
        live.into_iter()
            .find(|target| self.target_response_at(target, path, at).is_none())
            .map(|target| target.name.clone())
    }
}
