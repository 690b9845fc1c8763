//! Snapshots of volumes: keep, put back, throw away. A snapshot is a volume with labels that say of what and when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::copy::{Content, CopyWay, WhileWritten, copy_patience, copy_timeout, yes};
use super::{ListVolumes, Volume, VolumeOutcome};
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, Trace, Undo, Verdict};

/// Between a volume's name and the instant of its snapshot.
const AT: &str = ".at-";
/// Between a volume's name and the snapshot that replaced what is kept under this name.
const BEFORE: &str = ".before-";

/// `volume_snapshot`: keeps a copy of a volume, as `VOLUME.at-YYYYMMDD-HHMMSS-MMM`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotVolume {
    pub volume: String,
    #[serde(default)]
    pub while_written: WhileWritten,
    #[serde(default)]
    pub way: CopyWay,
    /// Reads the copy back and compares it.
    #[serde(default = "yes")]
    pub verify: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Default 1 h.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

impl Facts for SnapshotVolume {
    fn access(&self) -> Access {
        Access::Write
    }

    /// A whole snapshot of this very effect is found again, and a half one is made anew.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        copy_patience(self.timeout)
    }

    fn interruptible(&self) -> bool {
        true
    }

    /// A whole snapshot stays, for it is what a person turns to when a run went wrong. A half one goes.
    fn undo(&self, _: Option<&Outcome>) -> Undo {
        Undo::by(PruneVolumes { volume: Some(self.volume.clone()), only_own: true, ..PruneVolumes::default() })
    }

    fn subject(&self) -> String {
        self.volume.clone()
    }
}

impl Request for SnapshotVolume {
    const KIND: &'static str = "volume_snapshot";
    type Reply = Snapshot;
}

/// A snapshot that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The volume that holds it.
    pub name: String,
    pub of: String,
    /// RFC 3339, UTC.
    pub at: String,
    #[serde(flatten)]
    pub content: Content,
}

/// `volume_restore`: what a volume holds is replaced by a copy of a snapshot, and kept as a snapshot itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreVolume {
    /// Any volume: a snapshot, or a clone.
    pub snapshot: String,
    /// The volume; default: the one that the snapshot is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default)]
    pub way: CopyWay,
    /// Reads the copies back and compares them.
    #[serde(default = "yes")]
    pub verify: bool,
    /// Default 1 h.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
    /// Only if this very run made the snapshot, which is gone afterwards; what the undo asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

impl RestoreVolume {
    /// The volume whose content is replaced; none when neither the request nor the snapshot's name says.
    pub fn volume(&self) -> Option<&str> {
        let named = || [AT, BEFORE].into_iter().find_map(|mark| Some(self.snapshot.rsplit_once(mark)?.0));
        self.to.as_deref().or_else(named)
    }

    /// The name under which the replaced content is kept: the first that is free beside what there is.
    pub fn keeps(&self, volume: &str, there: &[Volume]) -> String {
        let stamp = [AT, BEFORE].into_iter().find_map(|mark| Some(self.snapshot.rsplit_once(mark)?.1));
        let name = format!("{volume}{BEFORE}{}", stamp.unwrap_or(&self.snapshot));
        let free = |name: &String| there.iter().all(|volume| volume.name != *name);
        let mut numbered = (2u32..).map(|number| format!("{name}-{number}"));
        if free(&name) { name.clone() } else { numbered.find(free).unwrap_or(name.clone()) }
    }
}

/// The role of snapshots.
const ROLE: &str = "snapshot";

/// What a snapshot carries besides the labels of its making.
pub fn snapshot_labels(of: &str, at: &str) -> [(String, String); 3] {
    [(labels::ROLE, ROLE), (labels::SNAPSHOT_OF, of), (labels::SNAPSHOT_AT, at)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

/// The volume that something with these labels is a snapshot of, and its age; none for what is no snapshot.
pub fn snapshot_age(all: &BTreeMap<String, String>, now_ms: i64) -> Option<(String, Duration)> {
    all.get(labels::ROLE).filter(|role| *role == ROLE)?;
    let at: jiff::Timestamp = all.get(labels::SNAPSHOT_AT)?.parse().ok()?;
    let ms = now_ms.saturating_sub(at.as_millisecond());
    Some((all.get(labels::SNAPSHOT_OF)?.clone(), Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
}

/// The name of a snapshot that is taken at an instant, and the instant as its label has it.
pub fn snapshot_name(volume: &str, unix_ms: i64) -> (String, String) {
    let at = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    (format!("{volume}{AT}{}", at.strftime("%Y%m%d-%H%M%S-%3f")), format!("{at:.3}"))
}

/// The snapshots of a volume.
pub fn snapshots_of(volume: &str) -> ListVolumes {
    ListVolumes { name: None, labels: BTreeMap::from([(labels::SNAPSHOT_OF.into(), volume.into())]) }
}

impl Facts for RestoreVolume {
    fn access(&self) -> Access {
        Access::Write
    }

    fn patience(&self) -> Duration {
        copy_patience(self.timeout)
    }

    fn recovery(&self) -> Recovery {
        if self.only_own { Recovery::Repeat } else { Recovery::Observe }
    }

    fn prior(&self) -> Option<Effect> {
        let volume = self.volume().filter(|_| !self.only_own)?;
        Some(snapshots_of(volume).into())
    }

    fn evidence(&self) -> Option<Effect> {
        self.prior()
    }

    /// Once the former content is kept, the volume may have been replaced by any part.
    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        let is_own = |kept: &Volume| kept.labels.get(labels::EFFECT).is_some_and(|id| id == trace.effect_id);
        match evidence {
            Outcome::Volume(VolumeOutcome::List(there)) if there.iter().any(is_own) => Verdict::Partly,
            _ => Verdict::Not,
        }
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match (self.volume(), prior) {
            (Some(volume), Some(Outcome::Volume(VolumeOutcome::List(there)))) => Undo::by(Self {
                snapshot: self.keeps(volume, there),
                to: Some(volume.to_owned()),
                only_own: true,
                ..self.clone()
            }),
            _ => Undo::Nothing,
        }
    }

    fn subject(&self) -> String {
        self.snapshot.clone()
    }
}

impl Request for RestoreVolume {
    const KIND: &'static str = "volume_restore";
    type Reply = Restored;
}

/// A volume whose content was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub volume: String,
    pub snapshot: String,
    /// The snapshot that holds what was replaced; none when an undo had nothing to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// False when an undo found nothing to take back.
    pub restored: bool,
    #[serde(flatten)]
    pub content: Content,
}

/// `volume_prune`: removes old snapshots, and what killed runs left half copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PruneVolumes {
    /// Snapshots of this volume; default: of every volume, each counted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The newest that stay, whatever their age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    /// Only those that are older than this go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<DurationText>,
    /// Only what this very run left half copied; what the undo of `volume_snapshot` asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

impl PruneVolumes {
    /// Those of one volume's snapshots that are to go. `snapshots` holds age and whatever stands for each.
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

/// Removing many large volumes takes the disk a while.
const PRUNE_PATIENCE: Duration = Duration::from_secs(600);

impl Facts for PruneVolumes {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        PRUNE_PATIENCE
    }

    fn subject(&self) -> String {
        self.volume.clone().unwrap_or_default()
    }
}

impl Request for PruneVolumes {
    const KIND: &'static str = "volume_prune";
    type Reply = Pruned;
}

/// What went and what stayed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    pub removed: Vec<String>,
    /// Half copies of runs that were killed.
    pub unfinished: Vec<String>,
    /// Due, but a container uses them.
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
        assert_eq!(prune(None, None), [""; 0], "without either only half copies go");
    }

    #[test]
    fn a_snapshot_says_what_it_is_of() {
        let restore = |snapshot: &str| -> RestoreVolume {
            serde_json::from_value(serde_json::json!({ "snapshot": snapshot })).unwrap()
        };
        assert_eq!(restore("data.at-20260101-000000-000").volume(), Some("data"));
        assert_eq!(restore("data.before-20260101-000000-000").volume(), Some("data"));
        assert_eq!(restore("clone").volume(), None);
        assert_eq!(restore("data.at-1").keeps("data", &[]), "data.before-1");
    }
}
