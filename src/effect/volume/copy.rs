//! Copies of volumes: clone, swap, measure. Snapshots are in `snapshot.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RemoveVolume, VolumeEffect, VolumeOutcome, list_named};
use crate::base::duration_text::DurationText;
use crate::effect::effect_spec::DEADLINE_MARGIN;
use crate::effect::request::request;
use crate::effect::{Effect, Observation, Outcome, PendingEffect, Recovery, Undo};

/// How long copying a volume may take by default: it is as slow as the disk.
pub(super) const COPY_TIMEOUT: DurationText = DurationText::secs(60 * 60);

pub(super) fn copy_timeout() -> DurationText {
    COPY_TIMEOUT
}

pub(super) fn yes() -> bool {
    true
}

/// Returns the deadline of a copy. After the timeout, the world still has to remove the incomplete copy.
pub(super) fn copy_deadline(timeout: DurationText) -> Duration {
    timeout.0 + 4 * DEADLINE_MARGIN
}

/// What to do if a running container can write to the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhileWritten {
    /// Fail, and name the container.
    #[default]
    Refuse,
    /// Copy it anyway. What is written during the copy may be incomplete in it.
    Allow,
    /// Pause those containers during the copy.
    Pause,
}

/// How the bytes are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyMethod {
    /// `files` if possible, else `engine`.
    #[default]
    Auto,
    /// From folder to folder, on the engine's own machine.
    Files,
    /// Through the engine's archive API, which also works with a remote engine.
    Engine,
}

/// `volume_clone`: copies a volume into a new one and compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloneVolume {
    /// The volume to copy.
    pub volume: String,
    /// The name of the new volume.
    pub to: String,
    /// What to do if a running container can write to the volume. Default `refuse`.
    #[serde(default)]
    pub while_written: WhileWritten,
    /// How the bytes are copied. Default `auto`.
    #[serde(default)]
    pub way: CopyMethod,
    /// Reads the copy back and compares it. Default true.
    #[serde(default = "yes")]
    pub verify: bool,
    /// Labels to set, besides deployer's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The service that the copy belongs to; becomes the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Default 1 h.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

request! {
    CloneVolume {
        kind: "volume_clone",
        reply: Copied,
        access: Write,
        // A complete copy of this very effect is found again, and an incomplete one is replaced.
        recovery: Repeat,
        deadline: |clone| copy_deadline(clone.timeout),
        interruptible: true,
        subject: |clone| format!("{} to {}", clone.volume, clone.to),
        service: |clone| clone.service.as_deref(),
        undo: |clone, _| Undo::by(RemoveVolume {
            name: clone.to.clone(),
            missing_ok: true,
            disposable: false,
            only_own: true,
        }),
    }
}

/// A complete copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The new volume.
    pub name: String,
    /// The volume that it is a copy of.
    pub of: String,
    /// What was copied.
    #[serde(flatten)]
    pub content: Content,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The bytes of all files. A file with several names counts once.
    pub bytes: u64,
    /// The number of files, links, pipes and devices, by name. Folders do not count.
    pub files: u64,
    /// The part of `bytes` that the file system shares between both volumes until one of them is written to.
    pub shared: u64,
    /// How the bytes were copied: `files` or `engine`.
    pub way: String,
    /// A digest over names, kinds, modes, owners, times and contents: equal for equal volumes that were copied the same
    /// way. Missing without `verify`, and for a copy that an interrupted run had completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `volume_swap`: exchanges the contents of two volumes, in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapVolumes {
    /// One volume.
    pub volume: String,
    /// The other volume.
    pub other: String,
    /// Swaps only until the volume holds this content again ([`super::Volume::content_id`]). Used by the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
}

/// Returns the id of the content of the listed volume, if it is known.
fn content_id(volumes: Option<&Outcome>) -> Option<&String> {
    let Some(Outcome::Volume(VolumeOutcome::List(volumes))) = volumes else { return None };
    volumes.first()?.content_id.as_ref()
}

request! {
    SwapVolumes {
        kind: "volume_swap",
        reply: Swapped,
        access: Write,
        recovery: |request| if request.back_to.is_some() { Recovery::Repeat } else { Recovery::Observe },
        subject: |request| format!("{} with {}", request.volume, request.other),
        prior: |request| request.back_to.is_none().then(|| list_named(&request.volume)),
        undo: Self::undo_from,
        evidence: |request| Some(list_named(&request.volume)),
        observe: Self::observe_from,
    }
}

impl SwapVolumes {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match content_id(prior).cloned() {
            Some(content) => Undo::by(Self { back_to: Some(content), ..self.clone() }),
            None => Undo::Nothing,
        }
    }

    fn observe_from(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        let before = match pending.undo {
            Some(Effect::Volume(VolumeEffect::Swap(back))) => back.back_to.as_ref(),
            _ => None,
        };
        match (before, content_id(Some(evidence))) {
            (Some(before), Some(now)) if before != now => {
                Observation::done(Outcome::Volume(VolumeOutcome::Swap(Swapped { swapped: true })))
            }
            _ => Observation::NotDone,
        }
    }
}

/// The result of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// Whether they were swapped; false if an undo found nothing to undo.
    pub swapped: bool,
}

/// `volume_size`: measures the content of a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureVolume {
    /// The volume.
    pub volume: String,
    /// Default 5 min.
    #[serde(default = "measure_timeout")]
    pub timeout: DurationText,
}

fn measure_timeout() -> DurationText {
    DurationText::secs(300)
}

request! {
    MeasureVolume {
        kind: "volume_size",
        reply: VolumeSize,
        access: Read,
        deadline: timeout,
        subject: volume,
    }
}

/// The size of a volume's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSize {
    /// The bytes of all files. A file with several names counts once.
    pub bytes: u64,
    /// The number of files, links, pipes and devices, by name. Missing if the volume's folder cannot be read from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}
