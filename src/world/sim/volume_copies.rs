//! Copies and snapshots of simulated volumes. Knows nothing of how a volume's databases are asked.
//!
//! Faults: no such volume, a taken name, a writer that runs, a volume that is used, a full disk.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sim_host::SimHost;
use super::volumes::{SimVolume, missing};
use crate::base::labels;
use crate::effect::volume::{
    CloneVolume, Content, Copied, MeasureVolume, PruneVolumes, Pruned, RestoreVolume, Restored, Snapshot,
    SnapshotVolume, SwapVolumes, Swapped, VolumeSize, WhileWritten, snapshot_age, snapshot_labels, snapshot_name,
    snapshots_of,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// What a copy takes, besides its bytes, as measured on a small machine.
const COPY_MS: u64 = 60;
/// Bytes that are copied in a millisecond.
const BYTES_PER_MS: u64 = 300_000;
const WAY: &str = "files";

fn conflict(message: String) -> EffectError {
    EffectError::new(ErrorKind::Conflict, message).not_applied()
}

fn invalid(message: String) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

impl SimHost {
    fn named(&self, name: &str) -> Result<&SimVolume, EffectError> {
        self.volumes.0.get(name).ok_or_else(|| missing(name))
    }

    /// Running containers that mount the volume.
    fn running_users(&self, volume: &str, writing: bool) -> Vec<String> {
        let mounts = |container: &&super::container::SimContainer| {
            let mut mounts = container.spec.volumes.iter().filter(|mount| mount.is_volume() && mount.source == volume);
            mounts.any(|mount| !writing || !mount.read_only)
        };
        self.containers.running().filter(mounts).map(|user| format!("`{}`", user.name())).collect()
    }

    fn expect_unused(&self, volume: &str) -> Result<(), EffectError> {
        let users = self.running_users(volume, false);
        if users.is_empty() {
            return Ok(());
        }
        Err(conflict(format!("volume `{volume}` is used by container {}", users.join(", ")))
            .hint("stop the container first: `docker_stop`"))
    }

    fn copy_volume(
        &mut self,
        call: &Call,
        (from, to): (&str, &str),
        while_written: WhileWritten,
        verify: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<Content, EffectError> {
        if from == to {
            return Err(invalid(format!("volume `{from}` cannot be copied into itself")));
        }
        let source = self.named(from)?.clone();
        if let Some(there) = self.volumes.0.get(to) {
            if there.labels.get(labels::EFFECT) == Some(&call.effect_id()) {
                return Ok(content(there, false));
            }
            return Err(EffectError::new(ErrorKind::NameTaken, format!("there is a volume `{to}` already"))
                .hint(format!("choose another name, or remove it: docker volume rm {to}"))
                .not_applied());
        }
        let writers = self.running_users(from, true);
        if while_written == WhileWritten::Refuse && !writers.is_empty() {
            let message =
                format!("container {} can write to volume `{from}`, so a copy may be torn", writers.join(", "));
            return Err(conflict(message).hint("halt it for the length of the copy: `while_written: \"pause\"`"));
        }
        let content = content(&source, verify);
        self.machine.store(content.bytes >> 20)?;
        self.pass(COPY_MS + content.bytes / BYTES_PER_MS);
        let own = call.labels().map(|(key, value)| (key.to_owned(), value));
        let of = [(labels::COPY_OF.to_owned(), from.to_owned())];
        let labels = labels.into_iter().chain(own).chain(of).collect();
        let copy = SimVolume { labels, content_id: self.ids.next(), ..source };
        self.volumes.0.insert(to.to_owned(), copy);
        Ok(content)
    }

    pub(super) fn clone_volume(&mut self, call: &Call, request: &CloneVolume) -> Result<Copied, EffectError> {
        let mut labels = request.labels.clone();
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let way = (request.volume.as_str(), request.to.as_str());
        let content = self.copy_volume(call, way, request.while_written, request.verify, labels)?;
        Ok(Copied { name: request.to.clone(), of: request.volume.clone(), content })
    }

    pub(super) fn snapshot_volume(&mut self, call: &Call, request: &SnapshotVolume) -> Result<Snapshot, EffectError> {
        let (name, at) = self
            .own_snapshot(call, &request.volume)
            .unwrap_or_else(|| snapshot_name(&request.volume, self.clock.unix_ms()));
        let mut labels = request.labels.clone();
        labels.extend(snapshot_labels(&request.volume, &at));
        let way = (request.volume.as_str(), name.as_str());
        let content = self.copy_volume(call, way, request.while_written, request.verify, labels)?;
        Ok(Snapshot { name, of: request.volume.clone(), at, content })
    }

    /// The snapshot that this very effect made before a crash.
    fn own_snapshot(&self, call: &Call, volume: &str) -> Option<(String, String)> {
        let mut wanted = snapshots_of(volume);
        wanted.labels.insert(labels::EFFECT.into(), call.effect_id());
        let made = self.list_volumes(&wanted).into_iter().next()?;
        Some((made.name, made.labels.get(labels::SNAPSHOT_AT)?.clone()))
    }

    pub(super) fn restore_volume(&mut self, call: &Call, request: &RestoreVolume) -> Result<Restored, EffectError> {
        let Some(volume) = request.volume().map(str::to_owned) else {
            let message = format!("`{}` does not say which volume it is a snapshot of", request.snapshot);
            return Err(invalid(message).hint("say it with the option `to`"));
        };
        let mut done = Restored {
            volume: volume.clone(),
            snapshot: request.snapshot.clone(),
            kept: None,
            restored: false,
            content: Content::default(),
        };
        if request.only_own {
            let own = self.volumes.0.get(&request.snapshot).and_then(|kept| kept.labels.get(labels::RUN));
            if own.map(String::as_str) != Some(call.run.as_str()) {
                return Ok(done);
            }
        }
        let snapshot = self.named(&request.snapshot)?.clone();
        self.named(&volume)?;
        self.expect_unused(&volume)?;
        if request.only_own {
            self.volumes.0.remove(&request.snapshot);
        } else {
            let kept = request.keeps(&volume, &self.list_volumes(&snapshots_of(&volume)));
            let (_, at) = snapshot_name(&volume, self.clock.unix_ms());
            let labels = snapshot_labels(&volume, &at).into_iter().collect();
            self.copy_volume(call, (&volume, &kept), WhileWritten::Refuse, request.verify, labels)?;
            done.kept = Some(kept);
        }
        done.content = content(&snapshot, request.verify);
        self.pass(COPY_MS + done.content.bytes / BYTES_PER_MS);
        if let Some(there) = self.volumes.0.get_mut(&volume) {
            there.databases = snapshot.databases;
        }
        done.restored = true;
        Ok(done)
    }

    pub(super) fn swap_volumes(&mut self, request: &SwapVolumes) -> Result<Swapped, EffectError> {
        if request.volume == request.other {
            return Err(invalid(format!("volume `{}` cannot be exchanged with itself", request.volume)));
        }
        let (one, other) = (self.named(&request.volume)?.clone(), self.named(&request.other)?.clone());
        let ids = [&one, &other].map(|volume| Some(&volume.content_id));
        match request.back_to.as_ref() {
            Some(back_to) if ids[0] == Some(back_to) => return Ok(Swapped { swapped: false }),
            Some(back_to) if ids[1] != Some(back_to) => {
                return Err(conflict(format!("what volume `{}` held is in neither of the two", request.volume)));
            }
            _ => {}
        }
        self.expect_unused(&request.volume)?;
        self.expect_unused(&request.other)?;
        let labels = (one.labels.clone(), other.labels.clone());
        self.volumes.0.insert(request.volume.clone(), SimVolume { labels: labels.0, ..other });
        self.volumes.0.insert(request.other.clone(), SimVolume { labels: labels.1, ..one });
        Ok(Swapped { swapped: true })
    }

    pub(super) fn measure_volume(&self, request: &MeasureVolume) -> Result<VolumeSize, EffectError> {
        let content = content(self.named(&request.volume)?, false);
        Ok(VolumeSize { bytes: content.bytes, files: Some(content.files) })
    }

    pub(super) fn prune_volumes(&mut self, request: &PruneVolumes) -> Pruned {
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
            if self.user_of(&due).is_some() {
                pruned.in_use.push(due);
            } else {
                self.volumes.0.remove(&due);
                pruned.removed.push(due);
            }
        }
        pruned
    }
}

/// A simulated volume holds its databases, each in a file.
fn content(volume: &SimVolume, verify: bool) -> Content {
    let bytes = volume.databases.values().map(super::sqlite_rows::Database::size).sum();
    let files = volume.databases.len() as u64;
    let digest = verify.then(|| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(&volume.databases).unwrap_or_default().hash(&mut hasher);
        format!("sim:{:016x}", hasher.finish())
    });
    Content { bytes, files, shared: 0, way: WAY.into(), digest }
}
