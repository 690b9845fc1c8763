//! The worlds perform effects. Only this folder touches Docker, processes, files, sockets, the clock and the
//! environment.
//!
//! [`World`] is the trait. `docker`, `local` and `sim` implement it and behave alike; `services` holds what the two
//! real worlds share. A world knows effects, but no scripts, no journal and no gateway.

pub mod approval_store;
pub mod clock;
pub mod docker;
pub mod docker_glob;
pub mod dockerignore;
pub mod engine;
pub mod folder_copy;
pub mod local;
pub mod private_folder;
pub mod process_identity;
pub mod real_world;
pub mod services;
pub mod sim;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::base::labels;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::vault::Vault;
use crate::effect::fault::FaultKind;
use crate::effect::{Effect, EffectError, Outcome};
use clock::Clock;

/// Performs effects.
pub trait World: Send + Sync {
    /// Returns the kind of the world as `--engine` spells it: `docker`, `local` or `sim`.
    fn name(&self) -> &'static str;

    /// Returns the clock that everything in this world goes by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Returns a copy of the world as it is now, for reads that must change nothing. `None` for a real world, which
    /// cannot be copied.
    fn frozen(&self) -> Option<Arc<dyn World>> {
        None
    }

    /// Performs one effect. Every wait ends when `call.cancel` fires. The gateway drops the future when the effect's
    /// deadline passes, so a half-done change must be visible to a later inspection.
    ///
    /// # Errors
    ///
    /// Returns an error with `applied: no` only when certainly nothing was changed.
    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>>;
}

/// The context of one effect: which run asks for it, and how to report progress.
#[derive(Clone)]
pub struct Call {
    /// The run that asks.
    pub run: RunId,
    /// The position of the effect in the run.
    pub seq: Seq,
    /// Resolves the secrets that the effect names.
    pub vault: Arc<Vault>,
    /// The epoch of the lock that the run holds on the service of this effect. `None` without a lock.
    pub epoch: Option<u64>,
    /// Fires when the effect should stop waiting.
    pub cancel: CancellationToken,
    /// Receives the effect's progress.
    pub progress: ProgressSink,
    /// The fault to inject. Only a simulated world injects it; real worlds have faults of their own.
    pub fault: Option<FaultKind>,
}

/// Receives what an effect reports while it runs.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// One line of progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The latest line of a build or pull, or the state of a wait.
    pub text: String,
    /// The share that is done, from 0 to 1, where it is known.
    pub fraction: Option<f32>,
}

impl Call {
    /// Creates a call that reports no progress, for tests and for internal requests.
    pub fn silent(run: RunId, seq: Seq, vault: Arc<Vault>) -> Self {
        Self { run, seq, vault, epoch: None, cancel: CancellationToken::new(), progress: Arc::new(|_| {}), fault: None }
    }

    /// Returns the value of the label [`labels::EFFECT`]: `RUN/SEQ`.
    pub fn effect_id(&self) -> String {
        format!("{}/{}", self.run, self.seq)
    }

    /// Returns whether this very effect created the object with these labels, in an attempt whose reply was lost.
    pub fn created(&self, found: &BTreeMap<String, String>) -> bool {
        found.get(labels::EFFECT).is_some_and(|id| *id == self.effect_id())
    }

    /// Returns the labels of everything that this call creates.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let epoch = self.epoch.map(|epoch| (labels::EPOCH, epoch.to_string()));
        [(labels::RUN, self.run.to_string()), (labels::EFFECT, self.effect_id())].into_iter().chain(epoch)
    }

    /// Reports a line of progress.
    pub fn report_progress(&self, text: impl Into<String>) {
        (self.progress)(Progress { text: text.into(), fraction: None });
    }

    /// Reports a line of progress with the share that is done, from 0 to 1.
    pub fn report_progress_fraction(&self, text: impl Into<String>, fraction: f32) {
        (self.progress)(Progress { text: text.into(), fraction: Some(fraction) });
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("run", &self.run).field("seq", &self.seq).finish_non_exhaustive()
    }
}
