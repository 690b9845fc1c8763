//! Copies of volumes: clone, exchange, measure. Where snapshots are kept and put back: `snapshot.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ListVolumes, RemoveVolume, VolumeEffect, VolumeOutcome};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, Trace, Undo, Verdict};

/// Copying is as slow as the disk: what a volume may take that says nothing else.
pub(super) const COPY_TIMEOUT: DurationText = DurationText::secs(60 * 60);

pub(super) fn copy_timeout() -> DurationText {
    COPY_TIMEOUT
}

pub(super) fn yes() -> bool {
    true
}

/// Time for the world to take a half copy away after the timeout, before the gateway gives up on it.
pub(super) fn copy_patience(timeout: DurationText) -> Duration {
    timeout.0 + 4 * GRACE
}

/// What to do when a running container can write to the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhileWritten {
    /// Fail, and say who it is.
    #[default]
    Refuse,
    /// Copy all the same; what is written meanwhile may be there by half.
    Allow,
    /// Halt those containers for as long as the copying takes.
    Pause,
}

/// The way that the bytes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyWay {
    /// `files` where it can be, else `engine`.
    #[default]
    Auto,
    /// From folder to folder, on the engine's own machine.
    Files,
    /// Through the engine's archive API, also to an engine far away.
    Engine,
}

/// `volume_clone`: copies a volume into a new one and compares both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloneVolume {
    pub volume: String,
    pub to: String,
    #[serde(default)]
    pub while_written: WhileWritten,
    #[serde(default)]
    pub way: CopyWay,
    /// Reads the copy back and compares it.
    #[serde(default = "yes")]
    pub verify: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Default 1 h.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

impl Facts for CloneVolume {
    fn access(&self) -> Access {
        Access::Write
    }

    /// A whole copy of this very effect is found again, and a half one is made anew.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        copy_patience(self.timeout)
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        Undo::by(RemoveVolume { name: self.to.clone(), missing_ok: true, disposable: false, only_own: true })
    }

    fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    fn subject(&self) -> String {
        format!("{} to {}", self.volume, self.to)
    }
}

impl Request for CloneVolume {
    const KIND: &'static str = "volume_clone";
    type Reply = Copied;
}

/// A copy that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The new volume.
    pub name: String,
    /// The volume that it is a copy of.
    pub of: String,
    #[serde(flatten)]
    pub content: Content,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Of all files; one with several names counts once.
    pub bytes: u64,
    /// Files, links, pipes and devices, by name; folders do not count.
    pub files: u64,
    /// Of `bytes`, what the file system shares between both until one of them is written to.
    pub shared: u64,
    /// `files` or `engine`: the way that the bytes took.
    pub way: String,
    /// Over names, kinds, modes, owners, times and contents, alike for equal volumes that were copied the same way;
    /// none without `verify`, and for a copy that a killed run had made already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `volume_swap`: two volumes exchange their contents, in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapVolumes {
    pub volume: String,
    pub other: String,
    /// Only until the volume holds this again ([`super::Volume::content_id`]); what the undo asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
}

/// What the volume of a list holds, where that can be told.
fn held(volumes: Option<&Outcome>) -> Option<&String> {
    let Some(Outcome::Volume(VolumeOutcome::List(volumes))) = volumes else { return None };
    volumes.first()?.content_id.as_ref()
}

impl SwapVolumes {
    fn look(&self) -> Effect {
        ListVolumes { name: Some(self.volume.clone()), labels: BTreeMap::new() }.into()
    }
}

impl Facts for SwapVolumes {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        if self.back_to.is_some() { Recovery::Repeat } else { Recovery::Observe }
    }

    fn prior(&self) -> Option<Effect> {
        self.back_to.is_none().then(|| self.look())
    }

    fn evidence(&self) -> Option<Effect> {
        Some(self.look())
    }

    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        let before = match trace.undo {
            Some(Effect::Volume(VolumeEffect::Swap(back))) => back.back_to.as_ref(),
            _ => None,
        };
        match (before, held(Some(evidence))) {
            (Some(before), Some(now)) if before != now => {
                Verdict::happened(Outcome::Volume(VolumeOutcome::Swap(Swapped { swapped: true })))
            }
            _ => Verdict::Not,
        }
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match held(prior).cloned() {
            Some(content) => Undo::by(Self { back_to: Some(content), ..self.clone() }),
            None => Undo::Nothing,
        }
    }

    fn subject(&self) -> String {
        format!("{} with {}", self.volume, self.other)
    }
}

impl Request for SwapVolumes {
    const KIND: &'static str = "volume_swap";
    type Reply = Swapped;
}

/// Whether an exchange took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// False when an undo found nothing to take back.
    pub swapped: bool,
}

/// `volume_size`: how much is in a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureVolume {
    pub volume: String,
    /// Default 5 min.
    #[serde(default = "measure_timeout")]
    pub timeout: DurationText,
}

fn measure_timeout() -> DurationText {
    DurationText::secs(300)
}

impl Facts for MeasureVolume {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.volume.clone()
    }
}

impl Request for MeasureVolume {
    const KIND: &'static str = "volume_size";
    type Reply = VolumeSize;
}

/// What a volume holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSize {
    /// Of all files; one with several names counts once.
    pub bytes: u64,
    /// Files, links, pipes and devices, by name; none where the volume's folder cannot be read from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}
