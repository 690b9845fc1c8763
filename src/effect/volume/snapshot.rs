//! Snapshots of volumes: create, restore, prune. A snapshot is a volume with labels for its origin and time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::copy::{Content, CopyMethod, WhileWritten, copy_deadline, copy_timeout, yes};
use super::{ListVolumes, Volume, VolumeOutcome};
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::request::request;
use crate::effect::{Effect, Observation, Outcome, PendingEffect, Recovery, Undo};

/// Separates a volume's name from the time of its snapshot.
const AT: &str = ".at-";
/// Separates a volume's name from the snapshot whose restore replaced the content that is kept under this name.
const BEFORE: &str = ".before-";

/// `volume_snapshot`: copies a volume into a new one, `VOLUME.at-YYYYMMDD-HHMMSS-MMM`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotVolume {
    /// The volume to copy.
    pub volume: String,
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
    /// Default 1 h.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

request! {
    SnapshotVolume {
        kind: "volume_snapshot",
        reply: Snapshot,
        access: Write,
        // A complete snapshot of this very effect is found again, and an incomplete one is replaced.
        recovery: Repeat,
        deadline: |request| copy_deadline(request.timeout),
        interruptible: true,
        subject: volume,
        // A complete snapshot is kept: an operator may need it after a failed run. An incomplete one is removed.
        undo: |snapshot, _| Undo::by(PruneVolumes {
            volume: Some(snapshot.volume.clone()),
            only_own: true,
            ..PruneVolumes::default()
        }),
    }
}

/// A complete snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The volume that holds the snapshot.
    pub name: String,
    /// The volume that it is a snapshot of.
    pub of: String,
    /// When it was taken, as RFC 3339 in UTC.
    pub at: String,
    /// What was copied.
    #[serde(flatten)]
    pub content: Content,
}

/// `volume_restore`: replaces the content of a volume with a copy of a snapshot. The replaced content is kept as a
/// snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreVolume {
    /// The volume to restore from: a snapshot, a clone or any other.
    pub snapshot: String,
    /// The volume to restore. Default: the one that the snapshot is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How the bytes are copied. Default `auto`.
    #[serde(default)]
    pub way: CopyMethod,
    /// Reads the copies back and compares them. Default true.
    #[serde(default = "yes")]
    pub verify: bool,
    /// Default 1 h.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
    /// Restores only if this very run made the snapshot, which is removed afterwards. Used by the undo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

impl RestoreVolume {
    /// Returns the volume whose content is replaced, unless neither the request nor the snapshot's name tells.
    pub fn volume(&self) -> Option<&str> {
        let named = || [AT, BEFORE].into_iter().find_map(|separator| Some(self.snapshot.rsplit_once(separator)?.0));
        self.to.as_deref().or_else(named)
    }

    /// Returns the name under which the replaced content is kept: the first that none of the `existing` volumes has.
    pub fn backup_name(&self, volume: &str, existing: &[Volume]) -> String {
        let stamp = [AT, BEFORE].into_iter().find_map(|separator| Some(self.snapshot.rsplit_once(separator)?.1));
        let name = format!("{volume}{BEFORE}{}", stamp.unwrap_or(&self.snapshot));
        let free = |name: &String| existing.iter().all(|volume| volume.name != *name);
        let mut numbered = (2u32..).map(|number| format!("{name}-{number}"));
        if free(&name) { name.clone() } else { numbered.find(free).unwrap_or(name.clone()) }
    }
}

/// The value of the label `deployer.role` on snapshots.
const ROLE: &str = "snapshot";

/// Returns the labels of a snapshot, besides those of the effect that created it.
pub fn snapshot_labels(of: &str, at: &str) -> [(String, String); 3] {
    [(labels::ROLE, ROLE), (labels::SNAPSHOT_OF, of), (labels::SNAPSHOT_AT, at)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

/// Returns the volume that a volume with these labels is a snapshot of, and its age, if it is a snapshot.
pub fn snapshot_age(all: &BTreeMap<String, String>, now_ms: i64) -> Option<(String, Duration)> {
    all.get(labels::ROLE).filter(|role| *role == ROLE)?;
    let at: jiff::Timestamp = all.get(labels::SNAPSHOT_AT)?.parse().ok()?;
    let ms = now_ms.saturating_sub(at.as_millisecond());
    Some((all.get(labels::SNAPSHOT_OF)?.clone(), Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
}

/// Returns the name of a snapshot that is taken at this time, and the time as its label has it.
pub fn snapshot_name(volume: &str, unix_ms: i64) -> (String, String) {
    let at = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    (format!("{volume}{AT}{}", at.strftime("%Y%m%d-%H%M%S-%3f")), format!("{at:.3}"))
}

/// Returns the read of the snapshots of a volume.
pub fn snapshots_of(volume: &str) -> ListVolumes {
    ListVolumes { name: None, labels: BTreeMap::from([(labels::SNAPSHOT_OF.into(), volume.into())]) }
}

request! {
    RestoreVolume {
        kind: "volume_restore",
        reply: Restored,
        access: Write,
        recovery: |request| if request.only_own { Recovery::Repeat } else { Recovery::Observe },
        deadline: |request| copy_deadline(request.timeout),
        subject: snapshot,
        prior: Self::list_snapshots,
        undo: Self::undo_from,
        evidence: Self::list_snapshots,
        // Once the previous content is kept, any part of the volume may have been replaced.
        observe: Self::observe_from,
    }
}

impl RestoreVolume {
    fn list_snapshots(&self) -> Option<Effect> {
        let volume = self.volume().filter(|_| !self.only_own)?;
        Some(snapshots_of(volume).into())
    }

    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match (self.volume(), prior) {
            (Some(volume), Some(Outcome::Volume(VolumeOutcome::List(existing)))) => Undo::by(Self {
                snapshot: self.backup_name(volume, existing),
                to: Some(volume.to_owned()),
                only_own: true,
                ..self.clone()
            }),
            _ => Undo::Nothing,
        }
    }

    fn observe_from(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        let is_own = |kept: &Volume| kept.labels.get(labels::EFFECT).is_some_and(|id| id == pending.effect_id);
        match evidence {
            Outcome::Volume(VolumeOutcome::List(existing)) if existing.iter().any(is_own) => Observation::Partial,
            _ => Observation::NotDone,
        }
    }
}

/// The result of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The volume whose content was replaced.
    pub volume: String,
    /// The snapshot that was restored.
    pub snapshot: String,
    /// The snapshot that holds the replaced content; missing if an undo had nothing to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// False if an undo found nothing to undo.
    pub restored: bool,
    /// What was copied.
    #[serde(flatten)]
    pub content: Content,
}

/// `volume_prune`: removes old snapshots, and incomplete copies that interrupted runs left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PruneVolumes {
    /// The volume whose snapshots are pruned. Default: every volume, each counted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The number of newest snapshots to keep, whatever their age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    /// Removes only those that are older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<DurationText>,
    /// Removes only what this very run left incomplete. Used by the undo of `volume_snapshot`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

impl PruneVolumes {
    /// Returns which of one volume's snapshots to remove. `snapshots` pairs the age of each with a value that the caller
    /// chooses.
    pub fn outdated<T>(&self, mut snapshots: Vec<(Duration, T)>) -> Vec<T> {
        if self.only_own || (self.keep.is_none() && self.older_than.is_none()) {
            return Vec::new();
        }
        snapshots.sort_by_key(|(age, _)| *age);
        let keep = usize::try_from(self.keep.unwrap_or(0)).unwrap_or(usize::MAX);
        let old = |age: Duration| self.older_than.is_none_or(|limit| age > limit.0);
        snapshots.into_iter().skip(keep).filter(|(age, _)| old(*age)).map(|(_, snapshot)| snapshot).collect()
    }
}

/// Removing many large volumes takes a while.
const PRUNE_DEADLINE: Duration = Duration::from_secs(600);

request! {
    PruneVolumes {
        kind: "volume_prune",
        reply: Pruned,
        access: Write,
        recovery: Repeat,
        deadline: |_| PRUNE_DEADLINE,
        subject: |request| request.volume.clone().unwrap_or_default(),
    }
}

/// The volumes that were removed and those that were kept, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The snapshots that were removed.
    pub removed: Vec<String>,
    /// The incomplete copies of interrupted runs that were removed.
    pub unfinished: Vec<String>,
    /// Due to be removed, but in use by a container.
    pub in_use: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prune(keep: Option<u32>, older_than: Option<u64>) -> Vec<&'static str> {
        let request = PruneVolumes { keep, older_than: older_than.map(DurationText::secs), ..PruneVolumes::default() };
        let aged = |secs, name| (Duration::from_secs(secs), name);
        request.outdated(vec![aged(30, "old"), aged(10, "new"), aged(20, "middle")])
    }

    #[test]
    fn count_and_age_decide_together() {
        assert_eq!(prune(Some(1), None), ["middle", "old"]);
        assert_eq!(prune(None, Some(20)), ["old"]);
        assert_eq!(prune(Some(1), Some(25)), ["old"]);
        assert_eq!(prune(Some(3), Some(1)), [""; 0]);
        assert_eq!(prune(None, None), [""; 0], "without either, only incomplete copies are removed");
    }

    #[test]
    fn a_snapshot_names_its_volume() {
        let restore = |snapshot: &str| -> RestoreVolume {
            serde_json::from_value(serde_json::json!({ "snapshot": snapshot })).unwrap()
        };
        assert_eq!(restore("data.at-20260101-000000-000").volume(), Some("data"));
        assert_eq!(restore("data.before-20260101-000000-000").volume(), Some("data"));
        assert_eq!(restore("clone").volume(), None);
        assert_eq!(restore("data.at-1").backup_name("data", &[]), "data.before-1");
    }
}
