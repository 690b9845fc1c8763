//! Records the routes of the host: one volume each, whose label names the driver of the route. Every machine that
//! reaches the engine finds them.

use std::collections::{BTreeMap, HashMap};

use super::names;
use super::volume::Volumes;
use super::volume_api::VolumeApi;
use super::volume_claim::VolumeClaims;
use crate::base::labels;
use crate::effect::volume::{ListVolumes, Volume};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::RouteRecord;

const PREFIX: &str = "deployer-route-";
/// The value of [`labels::ROLE`] of these volumes.
const ROLE: &str = "route";

/// Records the routes of the host.
#[derive(Clone, Debug)]
pub(super) struct RouteRecords {
    volumes: Volumes,
    api: VolumeApi,
    claims: VolumeClaims,
}

impl RouteRecords {
    pub(super) fn new(volumes: Volumes, api: VolumeApi, claims: VolumeClaims) -> Self {
        Self { volumes, api, claims }
    }

    pub(super) async fn record(&self, call: &Call, route: &RouteRecord) -> Result<(), EffectError> {
        let name = volume_name(&route.service)?;
        let text = serde_json::to_string(route).map_err(|why| {
            EffectError::new(ErrorKind::Internal, format!("the route cannot be recorded: {why}")).not_applied()
        })?;
        // The branches of one run are one owner to the engine, and labels cannot be changed. So finding, removing and
        // creating must be one step.
        let _branch = self.claims.lock_branch().await;
        if let Some(existing) = self.api.find(&name).await? {
            if existing.labels.get(labels::ROUTE) == Some(&text) {
                return Ok(());
            }
            self.api.remove(&name).await?;
        }
        let labels = [
            (labels::ROLE, ROLE.to_owned()),
            (labels::SERVICE, route.service.clone()),
            (labels::RUN, call.run.to_string()),
            (labels::ROUTE, text.clone()),
        ];
        let labels: HashMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let created = self.api.create(&name, labels).await?;
        if created.labels.get(labels::ROUTE) == Some(&text) {
            return Ok(());
        }
        Err(EffectError::new(
            ErrorKind::Conflict,
            format!("another process declared a route of `{}` at the same time", route.service),
        ))
    }

    pub(super) async fn remove(&self, service: &str) -> Result<(), EffectError> {
        self.api.remove(&volume_name(service)?).await.map(drop)
    }

    pub(super) async fn list(&self) -> Result<Vec<RouteRecord>, EffectError> {
        let labels = BTreeMap::from([(labels::ROUTE.to_owned(), String::new())]);
        self.volumes.list(&ListVolumes { name: None, labels }).await?.iter().map(parse).collect()
    }
}

fn volume_name(service: &str) -> Result<String, EffectError> {
    Ok(format!("{PREFIX}{}", names::validate("service", service)?))
}

fn parse(volume: &Volume) -> Result<RouteRecord, EffectError> {
    let text = volume.labels.get(labels::ROUTE).map(String::as_str).unwrap_or_default();
    serde_json::from_str(text).map_err(|why| {
        let message = format!("the label `{}` of volume `{}` is invalid: {why}", labels::ROUTE, volume.name);
        EffectError::new(ErrorKind::Invalid, message)
            .hint("it may be from a newer version of deployer; otherwise remove the volume and declare the route again")
            .not_applied()
    })
}
