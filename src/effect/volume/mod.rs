//! Named volumes: create, list, remove; copies of them in `copy.rs`, snapshots in `snapshot.rs`.

mod copy;
mod create;
mod error;
mod list;
mod remove;
mod snapshot;

use std::collections::BTreeMap;

pub use copy::{
    CloneVolume, Content, Copied, CopyMethod, MeasureVolume, SwapVolumes, Swapped, VolumeSize, WhileWritten,
};
pub use create::CreateVolume;
pub use error::{
    check_copy_names, copy_cancelled, copy_timed_out, path_outside_volume, volume_exists, volume_file_not_found,
    volume_has_writers, volume_in_use, volume_in_use_by_running, volume_not_found,
};
pub use list::{ListVolumes, Volume};
pub use remove::RemoveVolume;
pub use snapshot::{
    PruneVolumes, Pruned, RestoreVolume, Restored, Snapshot, SnapshotVolume, snapshot_age, snapshot_labels,
    snapshot_name, snapshots_of,
};

use super::category::category;
use super::{Effect, Outcome};

category! {
    /// Actions on volumes.
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

/// Returns the read of one volume, which may not exist.
fn list_named(name: &str) -> Effect {
    ListVolumes { name: Some(name.into()), labels: BTreeMap::new() }.into()
}

/// Returns whether [`list_named`] found the volume.
fn existed(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Volume(VolumeOutcome::List(volumes))) if !volumes.is_empty())
}
