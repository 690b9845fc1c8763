//! The interpreters: whoever performs effects. The only folder that touches Docker, processes, files, sockets,
//! the clock and the environment.
//!
//! [`World`] is the one trait; `docker`, `local` and `sim` are its twins. `services` holds what the two real worlds
//! share. Knows the effects and nothing of scripts, the journal or the gateway.

pub mod approvals;
pub mod clock;
pub mod docker;
pub mod dockerignore;
pub mod engine;
pub mod holder;
pub mod local;
pub mod path_pattern;
pub mod real;
pub mod replica;
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

/// Something that performs effects.
pub trait World: Send + Sync {
    /// `docker`, `local` or `sim`: what `--engine` says.
    fn name(&self) -> &'static str;

    fn clock(&self) -> Arc<dyn Clock>;

    /// A copy of the world as it is now, to look at without a change; none of what there is only once.
    fn frozen(&self) -> Option<Arc<dyn World>> {
        None
    }

    /// Performs one effect. Keeps to `call.cancel` in every wait; the gateway drops the future when the
    /// effect's deadline passes, so nothing may be left half-done that a later look would not show.
    ///
    /// # Errors
    /// With `applied: no` only when certainly nothing was changed.
    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>>;
}

/// What comes along with an effect: who asks, and how to tell of progress.
#[derive(Clone)]
pub struct Call {
    pub run: RunId,
    pub seq: Seq,
    pub vault: Arc<Vault>,
    /// The number under which the run holds the lock of the service that this is for; none without a lock.
    pub epoch: Option<u64>,
    /// Fires when the effect should stop waiting.
    pub cancel: CancellationToken,
    pub progress: ProgressSink,
    /// What shall go wrong with it. Only a simulated world brings it about; the real ones have faults of their own.
    pub fault: Option<FaultKind>,
}

/// Takes what an effect tells of itself while it is under way.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// One line of progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The latest line of a build or pull, or the state of a wait.
    pub text: String,
    /// How much is done, 0 to 1, where that is known.
    pub fraction: Option<f32>,
}

impl Call {
    /// A call that nobody watches, for tests and for the engine's own questions.
    pub fn silent(run: RunId, seq: Seq, vault: Arc<Vault>) -> Self {
        Self { run, seq, vault, epoch: None, cancel: CancellationToken::new(), progress: Arc::new(|_| {}), fault: None }
    }

    /// The value of the label [`labels::EFFECT`]: `RUN/SEQ`.
    pub fn effect_id(&self) -> String {
        format!("{}/{}", self.run, self.seq)
    }

    /// Whether what carries these labels was created by this very effect, in a try whose answer got lost.
    pub fn made(&self, found: &BTreeMap<String, String>) -> bool {
        found.get(labels::EFFECT).is_some_and(|id| *id == self.effect_id())
    }

    /// The labels that everything created by this call carries.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let epoch = self.epoch.map(|epoch| (labels::EPOCH, epoch.to_string()));
        [(labels::RUN, self.run.to_string()), (labels::EFFECT, self.effect_id())].into_iter().chain(epoch)
    }

    pub fn tell(&self, text: impl Into<String>) {
        (self.progress)(Progress { text: text.into(), fraction: None });
    }

    pub fn tell_fraction(&self, text: impl Into<String>, fraction: f32) {
        (self.progress)(Progress { text: text.into(), fraction: Some(fraction) });
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("run", &self.run).field("seq", &self.seq).finish_non_exhaustive()
    }
}
