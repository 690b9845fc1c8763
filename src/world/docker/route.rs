//! Routes that the host keeps: one volume each, whose label says which program drives the route. Any machine that
//! reaches the engine finds it there.

use std::collections::{BTreeMap, HashMap};

use super::{DockerEngine, names};
use crate::base::labels;
use crate::effect::volume::{ListVolumes, Volume};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::RouteNote;

const PREFIX: &str = "deployer-route-";
/// The value of [`labels::ROLE`].
const ROLE: &str = "route";

impl DockerEngine {
    pub(super) async fn keep_route_note(&self, call: &Call, note: &RouteNote) -> Result<(), EffectError> {
        let name = volume_of(&note.service)?;
        let text = serde_json::to_string(note).map_err(|why| {
            EffectError::new(ErrorKind::Internal, format!("the route cannot be written down: {why}")).not_applied()
        })?;
        // Branches of one run are one owner, and labels cannot be changed: look, remove and make are one step.
        let _branch = self.alone.lock().await;
        if let Some(there) = self.volume_named(&name).await? {
            if there.labels.get(labels::ROUTE) == Some(&text) {
                return Ok(());
            }
            self.drop_volume(&name).await?;
        }
        let labels = [
            (labels::ROLE, ROLE.to_owned()),
            (labels::SERVICE, note.service.clone()),
            (labels::RUN, call.run.to_string()),
            (labels::ROUTE, text.clone()),
        ];
        let labels: HashMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let made = self.make_volume(&name, labels).await?;
        if made.labels.get(labels::ROUTE) == Some(&text) {
            return Ok(());
        }
        Err(EffectError::new(
            ErrorKind::Conflict,
            format!("somebody else declared a route of `{}` just now", note.service),
        ))
    }

    pub(super) async fn drop_route_note(&self, service: &str) -> Result<(), EffectError> {
        self.drop_volume(&volume_of(service)?).await.map(drop)
    }

    pub(super) async fn route_notes(&self) -> Result<Vec<RouteNote>, EffectError> {
        let labels = BTreeMap::from([(labels::ROUTE.to_owned(), String::new())]);
        self.volumes(&ListVolumes { name: None, labels }).await?.iter().map(note).collect()
    }
}

fn volume_of(service: &str) -> Result<String, EffectError> {
    Ok(format!("{PREFIX}{}", names::plain("service", service)?))
}

fn note(volume: &Volume) -> Result<RouteNote, EffectError> {
    let text = volume.labels.get(labels::ROUTE).map(String::as_str).unwrap_or_default();
    serde_json::from_str(text).map_err(|why| {
        let message = format!("the label `{}` of volume `{}` is not understood: {why}", labels::ROUTE, volume.name);
        EffectError::new(ErrorKind::Invalid, message)
            .hint("a newer deployer may have written it; else remove it and declare the route again")
            .not_applied()
    })
}
