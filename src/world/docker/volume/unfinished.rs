//! Marks volumes whose copy is not finished. The marker is a second volume, which is created before the copy and
//! removed when it is complete: labels of a volume never change, so the copy itself cannot carry the mark. Knows
//! nothing of how a copy is made.

use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::ListVolumesOptionsBuilder;

use super::Volumes;
use crate::base::labels;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::error::{Subject, await_reply};

const PREFIX: &str = "deployer-copying-";
/// The value of [`labels::ROLE`] of markers.
const ROLE: &str = "copying";
/// The label that names the volume with the previous content, on the marker of a volume whose content is being
/// replaced.
const KEPT: &str = "deployer.copy.kept";

/// A copy that is not finished, as its marker describes it.
#[derive(Clone, Debug)]
pub(super) struct UnfinishedCopy {
    /// The volume that is copied.
    pub of: String,
    /// The volume that is incomplete.
    pub to: String,
    /// The run that makes the copy.
    pub run: String,
    /// The ids of the containers that were paused for it.
    pub paused: Vec<String>,
    /// The volume with the previous content, when the volume existed before.
    pub kept: Option<String>,
}

/// Returns the name of the marker of a volume.
pub(super) fn marker_name(to: &str) -> String {
    format!("{PREFIX}{to}")
}

fn from_labels(labels: &BTreeMap<String, String>) -> Option<UnfinishedCopy> {
    let text = |key: &str| labels.get(key).cloned();
    Some(UnfinishedCopy {
        of: text(labels::COPY_OF)?,
        to: text(labels::COPY_TO)?,
        run: text(labels::RUN)?,
        paused: text(labels::COPY_PAUSED).iter().flat_map(|ids| ids.split(',')).map(str::to_owned).collect(),
        kept: text(KEPT),
    })
}

impl Volumes {
    pub(super) async fn mark_unfinished(&self, call: &Call, copy: &UnfinishedCopy) -> Result<(), EffectError> {
        let marker_labels =
            [(labels::ROLE, ROLE.to_owned()), (labels::COPY_OF, copy.of.clone()), (labels::COPY_TO, copy.to.clone())];
        let paused = (!copy.paused.is_empty()).then(|| (labels::COPY_PAUSED, copy.paused.join(",")));
        let kept = copy.kept.clone().map(|kept| (KEPT, kept));
        let all = marker_labels.into_iter().chain(paused).chain(kept).chain(call.labels());
        let labels: HashMap<String, String> = all.map(|(key, value)| (key.to_owned(), value)).collect();
        self.api.create(&marker_name(&copy.to), labels).await.map(drop)
    }

    /// Returns the unfinished copy into this volume. `None` when the volume is complete or does not exist.
    pub(super) async fn unfinished_copy(&self, to: &str) -> Result<Option<UnfinishedCopy>, EffectError> {
        let found = self.api.find(&marker_name(to)).await?;
        Ok(found.and_then(|volume| from_labels(&volume.labels.into_iter().collect())))
    }

    /// Lists all unfinished copies.
    pub(super) async fn unfinished_copies(&self) -> Result<Vec<UnfinishedCopy>, EffectError> {
        let role = format!("{}={ROLE}", labels::ROLE);
        let filters = HashMap::from([("label", vec![role.as_str()])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = await_reply(Subject::Engine, self.client.docker.list_volumes(Some(options)))
            .await?
            .volumes
            .unwrap_or_default();
        Ok(listed.into_iter().filter_map(|volume| from_labels(&volume.labels.into_iter().collect())).collect())
    }

    /// Removes the marker: the copy is complete.
    pub(super) async fn mark_finished(&self, to: &str) -> Result<(), EffectError> {
        self.api.remove(&marker_name(to)).await.map(drop)
    }

    /// Removes an unfinished copy and everything that served it. The caller must hold the volume's lock.
    pub(super) async fn remove_unfinished(&self, copy: &UnfinishedCopy) -> Result<(), EffectError> {
        self.unpause(&copy.paused).await?;
        self.remove_copy_containers(&copy.to).await?;
        self.api.remove(&copy.to).await?;
        self.mark_finished(&copy.to).await
    }

    /// Fails when the volume is an unfinished copy, which must be neither copied nor mounted.
    pub(in crate::world::docker) async fn expect_complete(&self, volume: &str) -> Result<(), EffectError> {
        let Some(copy) = self.unfinished_copy(volume).await? else { return Ok(()) };
        let error = EffectError::new(
            ErrorKind::Conflict,
            format!("volume `{volume}` is incomplete: the copy of `{}` into it was interrupted", copy.of),
        );
        Err(match copy.kept {
            Some(kept) => {
                error.hint(format!("restore its previous content: volume_restore(\"{kept}\", #{{to: \"{volume}\"}})"))
            }
            None => error.hint(format!("remove it: volume_remove(\"{volume}\"), or roll back run {}", copy.run)),
        }
        .not_applied())
    }
}

/// Returns whether these are the labels of a marker.
pub(super) fn is_marker(labels: &BTreeMap<String, String>) -> bool {
    labels.get(labels::ROLE).is_some_and(|role| role == ROLE)
}
