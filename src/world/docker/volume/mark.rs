//! The mark of a copy that is not whole: a volume beside it, made before it and removed when it is whole. Labels of a
//! volume never change, so that the copy cannot carry the mark itself. Knows nothing of how a copy is made.

use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::ListVolumesOptionsBuilder;

use crate::base::labels;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::DockerEngine;
use crate::world::docker::error::{About, ask};

const PREFIX: &str = "deployer-copying-";
/// The role of marks.
const ROLE: &str = "copying";
/// On the mark of a volume whose content is being replaced: the volume that keeps the former content.
const KEPT: &str = "deployer.copy.kept";

/// What is known of a copy that is not whole.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub of: String,
    pub to: String,
    pub run: String,
    /// Containers that were halted for it, by id.
    pub paused: Vec<String>,
    /// Where the former content is, when the volume was there before.
    pub kept: Option<String>,
}

/// The volume that is the mark of another.
pub(in crate::world::docker) fn name_of(to: &str) -> String {
    format!("{PREFIX}{to}")
}

fn read(labels: &BTreeMap<String, String>) -> Option<Mark> {
    let text = |key: &str| labels.get(key).cloned();
    Some(Mark {
        of: text(labels::COPY_OF)?,
        to: text(labels::COPY_TO)?,
        run: text(labels::RUN)?,
        paused: text(labels::COPY_PAUSED).iter().flat_map(|ids| ids.split(',')).map(str::to_owned).collect(),
        kept: text(KEPT),
    })
}

impl DockerEngine {
    pub(super) async fn set_mark(&self, call: &Call, mark: &Mark) -> Result<(), EffectError> {
        let own =
            [(labels::ROLE, ROLE.to_owned()), (labels::COPY_OF, mark.of.clone()), (labels::COPY_TO, mark.to.clone())];
        let paused = (!mark.paused.is_empty()).then(|| (labels::COPY_PAUSED, mark.paused.join(",")));
        let kept = mark.kept.clone().map(|kept| (KEPT, kept));
        let all = own.into_iter().chain(paused).chain(kept).chain(call.labels());
        let labels: HashMap<String, String> = all.map(|(key, value)| (key.to_owned(), value)).collect();
        self.make_volume(&name_of(&mark.to), labels).await.map(drop)
    }

    /// The mark of this volume; none when it is whole, or not there at all.
    pub(super) async fn mark_of(&self, to: &str) -> Result<Option<Mark>, EffectError> {
        let found = self.volume_named(&name_of(to)).await?;
        Ok(found.and_then(|volume| read(&volume.labels.into_iter().collect())))
    }

    /// All marks there are.
    pub(super) async fn marks(&self) -> Result<Vec<Mark>, EffectError> {
        let role = format!("{}={ROLE}", labels::ROLE);
        let filters = HashMap::from([("label", vec![role.as_str()])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = ask(About::Engine, self.docker.list_volumes(Some(options))).await?.volumes.unwrap_or_default();
        Ok(listed.into_iter().filter_map(|volume| read(&volume.labels.into_iter().collect())).collect())
    }

    /// The volume is whole from now on.
    pub(super) async fn drop_mark(&self, to: &str) -> Result<(), EffectError> {
        self.drop_volume(&name_of(to)).await.map(drop)
    }

    /// Takes away a copy that is not whole, and all that served for it. The caller holds the volume.
    pub(super) async fn clear_copy(&self, mark: &Mark) -> Result<(), EffectError> {
        self.unpause(&mark.paused).await?;
        self.remove_copy_containers(&mark.to).await?;
        self.drop_volume(&mark.to).await?;
        self.drop_mark(&mark.to).await
    }

    /// Refuses a volume that is not whole as a source, or as a mount.
    pub(in crate::world::docker) async fn expect_whole(&self, volume: &str) -> Result<(), EffectError> {
        let Some(mark) = self.mark_of(volume).await? else { return Ok(()) };
        let error = EffectError::new(
            ErrorKind::Conflict,
            format!("volume `{volume}` is not whole: the copying of `{}` into it was broken off", mark.of),
        );
        Err(match mark.kept {
            Some(kept) => {
                error.hint(format!("its former content is whole: volume_restore(\"{kept}\", #{{to: \"{volume}\"}})"))
            }
            None => error.hint(format!("remove it: volume_remove(\"{volume}\"), or take run {} back", mark.run)),
        }
        .not_applied())
    }
}

/// Whether these are the labels of a mark.
pub(super) fn is_mark(labels: &BTreeMap<String, String>) -> bool {
    labels.get(labels::ROLE).is_some_and(|role| role == ROLE)
}
