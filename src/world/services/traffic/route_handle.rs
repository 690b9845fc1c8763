//! A route of this host with the driver that controls it.

use super::driver::TrafficDriver;
use crate::effect::traffic::{RouteStatus, RouteView};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::RouteRecord;

/// A known route and its driver.
pub(super) struct RouteHandle {
    pub record: RouteRecord,
    pub driver: Box<dyn TrafficDriver>,
}

impl RouteHandle {
    /// Reads the route from its driver. Fails if the driver does not have it.
    pub(super) async fn view(&self, call: &Call) -> Result<RouteView, EffectError> {
        self.driver.show(call, &self.record.service).await?.ok_or_else(|| self.lost())
    }

    /// Reads the route from its driver, and adds what the host knows of it.
    pub(super) async fn status(&self, call: &Call) -> Result<RouteStatus, EffectError> {
        self.view(call).await.map(|view| self.with_view(view))
    }

    pub(super) fn with_view(&self, view: RouteView) -> RouteStatus {
        RouteStatus {
            service: self.record.service.clone(),
            driver: self.record.driver.clone(),
            probe: self.record.probe.clone(),
            view,
        }
    }

    /// The error when the driver does not have the route.
    pub(super) fn lost(&self) -> EffectError {
        let (service, kind) = (&self.record.service, self.driver.kind());
        EffectError::new(ErrorKind::NotFound, format!("`{kind}` no longer has the route of service `{service}`"))
            .hint("declare it again with `traffic_route`, and its targets with `traffic_set`")
            .not_applied()
    }
}
