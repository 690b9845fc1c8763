//! Named volumes: create, list, remove; copies of them in `copy.rs`, snapshots in `snapshot.rs`.

mod copy;
mod snapshot;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::Removed;
use super::family::family;
use super::{Access, Effect, Facts, Outcome, Recovery, Request, Trace, Undo, Verdict};
pub use copy::{CloneVolume, Content, Copied, CopyWay, MeasureVolume, SwapVolumes, Swapped, VolumeSize, WhileWritten};
pub use snapshot::{
    PruneVolumes, Pruned, RestoreVolume, Restored, Snapshot, SnapshotVolume, snapshot_age, snapshot_labels,
    snapshot_name, snapshots_of,
};

family! {
    /// What can be asked of volumes.
    Volume: VolumeEffect => VolumeOutcome {
        Create(CreateVolume),
        List(ListVolumes),
        Remove(RemoveVolume),
        Clone(CloneVolume),
        Snapshot(SnapshotVolume),
        Restore(RestoreVolume),
        Swap(SwapVolumes),
        Measure(MeasureVolume),
        Prune(PruneVolumes),
    }
}

/// A named volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub driver: String,
    /// The folder on the engine's host.
    pub mountpoint: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub created_at: Option<String>,
    /// Tells one content from another, where the engine's files can be seen from here: `volume_swap` exchanges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
}

/// `volume_create`: makes a volume; one of that name that is there already is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateVolume {
    pub name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

fn volume_named(name: &str) -> Effect {
    ListVolumes { name: Some(name.into()), labels: BTreeMap::new() }.into()
}

fn existed(prior: Option<&Outcome>) -> bool {
    matches!(prior, Some(Outcome::Volume(VolumeOutcome::List(volumes))) if !volumes.is_empty())
}

impl Facts for CreateVolume {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        Some(volume_named(&self.name))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        if existed(prior) {
            return Undo::Nothing;
        }
        Undo::by(RemoveVolume { name: self.name.clone(), missing_ok: true, disposable: false, only_own: true })
    }

    fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    fn subject(&self) -> String {
        self.name.clone()
    }
}

impl Request for CreateVolume {
    const KIND: &'static str = "volume_create";
    type Reply = Volume;
}

/// `volume_list`: volumes, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListVolumes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Facts for ListVolumes {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone().unwrap_or_default()
    }
}

impl Request for ListVolumes {
    const KIND: &'static str = "volume_list";
    type Reply = Vec<Volume>;
}

/// `volume_remove`: removes a volume and all that is in it, also one that is copied only by half. Refused while a
/// container uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveVolume {
    pub name: String,
    #[serde(default)]
    pub missing_ok: bool,
    /// States that nobody will miss it: the run can be taken back without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
    /// Removes it only if this very run created it; what the undo of `volume_create` asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

impl Facts for RemoveVolume {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        // Once it is gone, the same request would find nothing to remove.
        if self.missing_ok { Recovery::Repeat } else { Recovery::Observe }
    }

    fn evidence(&self) -> Option<Effect> {
        Some(volume_named(&self.name))
    }

    fn verdict(&self, _: Trace<'_>, evidence: &Outcome) -> Verdict {
        if existed(Some(evidence)) {
            return Verdict::Not;
        }
        Verdict::happened(Outcome::Volume(VolumeOutcome::Remove(Removed { removed: true })))
    }

    fn prior(&self) -> Option<Effect> {
        (!self.only_own && !self.disposable).then(|| volume_named(&self.name))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        if existed(prior) {
            Undo::Impossible(format!(
                "volume `{}` was removed and its files with it; restore it from a backup",
                self.name
            ))
        } else {
            Undo::Nothing
        }
    }

    fn subject(&self) -> String {
        self.name.clone()
    }
}

impl Request for RemoveVolume {
    const KIND: &'static str = "volume_remove";
    type Reply = Removed;
}
