//! Volume effects. Each request has a file of its own; copies are made by `clone.rs`, which `snapshot.rs` and
//! `restore.rs` use.

mod archive_reader;
mod clone;
mod copy_archive;
mod copy_container;
mod copy_files;
mod create;
mod file;
mod list;
mod measure;
mod prune;
mod remove;
mod restore;
mod snapshot;
mod swap;
mod unfinished;
mod users;
mod volume_lock;

use std::sync::Arc;

use super::client::EngineClient;
use super::volume_api::VolumeApi;
use super::volume_claim::VolumeClaims;
use crate::effect::EffectError;
use crate::effect::volume::{VolumeEffect, VolumeOutcome};
use crate::world::Call;
use volume_lock::LockedVolumes;

/// The value of `labels::ROLE` of containers that exist only for a copy.
pub(super) const COPY_ROLE: &str = "copy";

/// Performs volume effects.
#[derive(Clone, Debug)]
pub(super) struct Volumes {
    client: Arc<EngineClient>,
    api: VolumeApi,
    claims: VolumeClaims,
    /// The volumes that this process works on.
    locked: Arc<LockedVolumes>,
}

impl Volumes {
    pub(super) fn new(client: Arc<EngineClient>, api: VolumeApi, claims: VolumeClaims) -> Self {
        Self { client, api, claims, locked: Arc::default() }
    }

    pub(in crate::world::docker) async fn perform(
        &self,
        call: &Call,
        effect: &VolumeEffect,
    ) -> Result<VolumeOutcome, EffectError> {
        match effect {
            VolumeEffect::Create(request) => self.create(call, request).await.map(VolumeOutcome::Create),
            VolumeEffect::List(request) => self.list(request).await.map(VolumeOutcome::List),
            VolumeEffect::Remove(request) => self.remove(call, request).await.map(VolumeOutcome::Remove),
            VolumeEffect::Clone(request) => self.clone_volume(call, request).await.map(VolumeOutcome::Clone),
            VolumeEffect::Snapshot(request) => self.snapshot(call, request).await.map(VolumeOutcome::Snapshot),
            VolumeEffect::Restore(request) => self.restore(call, request).await.map(VolumeOutcome::Restore),
            VolumeEffect::Swap(request) => self.swap(call, request).await.map(VolumeOutcome::Swap),
            VolumeEffect::Measure(request) => self.measure(call, request).await.map(VolumeOutcome::Measure),
            VolumeEffect::Prune(request) => self.prune(call, request).await.map(VolumeOutcome::Prune),
        }
    }
}
