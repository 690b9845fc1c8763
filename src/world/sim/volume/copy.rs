//! Copies and snapshots of simulated volumes. Knows nothing of how databases are queried.
//!
//! Faults: a missing volume, a taken name, a running writer, a volume in use, a full disk.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::volume::{
    CloneVolume, Content, Copied, MeasureVolume, PruneVolumes, Pruned, RestoreVolume, Restored, Snapshot,
    SnapshotVolume, SwapVolumes, Swapped, VolumeSize, WhileWritten, check_copy_names, snapshot_age, snapshot_labels,
    snapshot_name, snapshots_of, volume_exists, volume_has_writers, volume_in_use_by_running, volume_not_found,
};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::sim::model::volume::SimVolume;
use crate::world::sim::sim_host::SimHost;

/// Time a copy takes apart from its bytes, as measured on a small machine.
const COPY_MS: u64 = 60;
/// Bytes copied per millisecond.
const BYTES_PER_MS: u64 = 300_000;
const WAY: &str = "files";

impl SimHost {
    fn require_volume(&self, name: &str) -> Result<&SimVolume, EffectError> {
        self.volumes.0.get(name).ok_or_else(|| volume_not_found(name))
    }

    /// Returns running containers that mount the volume.
    fn running_users(&self, volume: &str, writing: bool) -> Vec<String> {
        let mounts = |container: &&crate::world::sim::model::container::SimContainer| {
            let mut mounts = container.spec.volumes.iter().filter(|mount| mount.is_volume() && mount.source == volume);
            mounts.any(|mount| !writing || !mount.read_only)
        };
        self.containers.running().filter(mounts).map(|user| user.name().to_owned()).collect()
    }

    fn expect_unused(&self, volume: &str) -> Result<(), EffectError> {
        let users = self.running_users(volume, false);
        if users.is_empty() { Ok(()) } else { Err(volume_in_use_by_running(volume, &users)) }
    }

    fn copy_volume(
        &mut self,
        call: &Call,
        (from, to): (&str, &str),
        while_written: WhileWritten,
        verify: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<Content, EffectError> {
        check_copy_names(from, to)?;
        let source = self.require_volume(from)?.clone();
        if let Some(existing) = self.volumes.0.get(to) {
            if existing.labels.get(labels::EFFECT) == Some(&call.effect_id()) {
                return Ok(content(existing, false));
            }
            return Err(volume_exists(to));
        }
        let writers = self.running_users(from, true);
        if while_written == WhileWritten::Refuse && !writers.is_empty() {
            return Err(volume_has_writers(from, &writers));
        }
        let content = content(&source, verify);
        self.machine.use_disk(&format!("volume `{to}`"), content.bytes >> 20)?;
        self.advance(COPY_MS + content.bytes / BYTES_PER_MS);
        let run_labels = call.labels().map(|(key, value)| (key.to_owned(), value));
        let of = [(labels::COPY_OF.to_owned(), from.to_owned())];
        let labels = labels.into_iter().chain(run_labels).chain(of).collect();
        let copy = SimVolume { labels, content_id: self.ids.next(), ..source };
        self.volumes.0.insert(to.to_owned(), copy);
        Ok(content)
    }

    pub(crate) fn clone_volume(&mut self, call: &Call, request: &CloneVolume) -> Result<Copied, EffectError> {
        let mut labels = request.labels.clone();
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let way = (request.volume.as_str(), request.to.as_str());
        let content = self.copy_volume(call, way, request.while_written, request.verify, labels)?;
        Ok(Copied { name: request.to.clone(), of: request.volume.clone(), content })
    }

    pub(crate) fn snapshot_volume(&mut self, call: &Call, request: &SnapshotVolume) -> Result<Snapshot, EffectError> {
        let (name, at) = self
            .own_snapshot(call, &request.volume)
            .unwrap_or_else(|| snapshot_name(&request.volume, self.clock.unix_ms()));
        let mut labels = request.labels.clone();
        labels.extend(snapshot_labels(&request.volume, &at));
        let way = (request.volume.as_str(), name.as_str());
        let content = self.copy_volume(call, way, request.while_written, request.verify, labels)?;
        Ok(Snapshot { name, of: request.volume.clone(), at, content })
    }

    /// Returns the snapshot that this effect made before a crash.
    fn own_snapshot(&self, call: &Call, volume: &str) -> Option<(String, String)> {
        let mut wanted = snapshots_of(volume);
        wanted.labels.insert(labels::EFFECT.into(), call.effect_id());
        let made = self.list_volumes(&wanted).into_iter().next()?;
        Some((made.name, made.labels.get(labels::SNAPSHOT_AT)?.clone()))
    }

    pub(crate) fn restore_volume(&mut self, call: &Call, request: &RestoreVolume) -> Result<Restored, EffectError> {
        let volume = request.required_volume()?.to_owned();
        let mut done = Restored {
            volume: volume.clone(),
            snapshot: request.snapshot.clone(),
            kept: None,
            restored: false,
            content: Content::default(),
        };
        if request.only_own {
            let creator = self.volumes.0.get(&request.snapshot).and_then(|kept| kept.labels.get(labels::RUN));
            if creator.map(String::as_str) != Some(call.run.as_str()) {
                return Ok(done);
            }
        }
        let snapshot = self.require_volume(&request.snapshot)?.clone();
        self.require_volume(&volume)?;
        self.expect_unused(&volume)?;
        if request.only_own {
            self.volumes.0.remove(&request.snapshot);
        } else {
            let kept = request.backup_name(&volume, &self.list_volumes(&snapshots_of(&volume)));
            let (_, at) = snapshot_name(&volume, self.clock.unix_ms());
            let labels = snapshot_labels(&volume, &at).into_iter().collect();
            self.copy_volume(call, (&volume, &kept), WhileWritten::Refuse, request.verify, labels)?;
            done.kept = Some(kept);
        }
        done.content = content(&snapshot, request.verify);
        self.advance(COPY_MS + done.content.bytes / BYTES_PER_MS);
        if let Some(existing) = self.volumes.0.get_mut(&volume) {
            existing.databases = snapshot.databases;
        }
        done.restored = true;
        Ok(done)
    }

    pub(crate) fn swap_volumes(&mut self, request: &SwapVolumes) -> Result<Swapped, EffectError> {
        request.validate()?;
        let (first, other) =
            (self.require_volume(&request.volume)?.clone(), self.require_volume(&request.other)?.clone());
        if !request.is_needed(Some(&first.content_id), Some(&other.content_id))? {
            return Ok(Swapped { swapped: false });
        }
        self.expect_unused(&request.volume)?;
        self.expect_unused(&request.other)?;
        let labels = (first.labels.clone(), other.labels.clone());
        self.volumes.0.insert(request.volume.clone(), SimVolume { labels: labels.0, ..other });
        self.volumes.0.insert(request.other.clone(), SimVolume { labels: labels.1, ..first });
        Ok(Swapped { swapped: true })
    }

    pub(crate) fn measure_volume(&self, request: &MeasureVolume) -> Result<VolumeSize, EffectError> {
        let content = content(self.require_volume(&request.volume)?, false);
        Ok(VolumeSize { bytes: content.bytes, files: Some(content.files) })
    }

    pub(crate) fn prune_volumes(&mut self, request: &PruneVolumes) -> Pruned {
        let mut by_volume: BTreeMap<String, Vec<(Duration, String)>> = BTreeMap::new();
        let now = self.clock.unix_ms();
        for (name, volume) in &self.volumes.0 {
            let Some((of, age)) = snapshot_age(&volume.labels, now) else { continue };
            if request.volume.as_ref().is_none_or(|wanted| *wanted == of) {
                by_volume.entry(of).or_default().push((age, name.clone()));
            }
        }
        let mut pruned = Pruned::default();
        for due in by_volume.into_values().flat_map(|snapshots| request.outdated(snapshots)) {
            if self.volume_user(&due).is_some() {
                pruned.in_use.push(due);
            } else {
                self.volumes.0.remove(&due);
                pruned.removed.push(due);
            }
        }
        pruned
    }
}

/// Measures a simulated volume: one file for each database.
fn content(volume: &SimVolume, verify: bool) -> Content {
    let bytes = volume.databases.values().map(crate::world::sim::model::database::SimDatabase::size).sum();
    let files = volume.databases.len() as u64;
    let digest = verify.then(|| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(&volume.databases).unwrap_or_default().hash(&mut hasher);
        format!("sim:{:016x}", hasher.finish())
    });
    Content { bytes, files, shared: 0, way: WAY.into(), digest }
}
