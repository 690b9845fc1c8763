//! What the gateway must know of a request, so that no layer needs to know individual requests.

use std::time::Duration;

use super::{Effect, Outcome};
use crate::base::container_ref::ContainerRef;

/// Whether a request changes anything outside deployer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    Read,
    /// It may change something.
    Write,
}

/// What to do with an intent whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Do it again: a second time does no harm.
    Repeat,
    /// Ask the world whether it happened, by the effect's label or by the state of what it changes.
    Observe,
    /// Ask an operator: deployer cannot tell.
    Ask,
}

/// How an effect is undone.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// There is nothing to undo.
    Nothing,
    /// This effect undoes it. It must succeed when its work is already done.
    Effect(Box<Effect>),
    /// It cannot be undone. The text says why, and what an operator can do.
    Impossible(String),
    /// It cannot be undone, which only matters if another run created what it removes: the rollback of the run that
    /// created it removes it anyway.
    ImpossibleUnlessOwn {
        /// The run that created it, if a run did.
        maker: Option<String>,
        /// Why it cannot be undone, and what an operator can do.
        why: String,
    },
}

impl Undo {
    /// An undo by this effect.
    pub fn by(effect: impl Into<Effect>) -> Self {
        Self::Effect(Box::new(effect.into()))
    }
}

/// What the world shows of an effect whose outcome is not known.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// It was done; this is the outcome that it would have returned.
    Done(Box<Outcome>),
    /// Part of it was done: undo it, then do it again.
    Partial,
    /// It was not done, or doing it again does no harm.
    NotDone,
}

impl Observation {
    /// The effect was done, with this outcome.
    pub fn done(outcome: Outcome) -> Self {
        Self::Done(Box::new(outcome))
    }
}

/// What stops answering requests because of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum TakesDown {
    /// Everything keeps answering.
    Nothing,
    /// This container.
    Container(ContainerRef),
    /// Some or all of the containers that this read lists.
    Listed(Box<Effect>),
}

/// An effect whose outcome is not known, because its run was interrupted.
#[derive(Clone, Copy, Debug)]
pub struct PendingEffect<'a> {
    /// The value of the label `deployer.effect` on everything that it created.
    pub effect_id: &'a str,
    /// The effect that undoes it, made from the state before it.
    pub undo: Option<&'a Effect>,
}

/// The deadline of effects that do not set their own.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// Added to a request's own timeout: by then the world should have reported the timeout itself.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(15);

/// What the gateway must know of one request. Implemented by the macro `request!`.
pub trait EffectSpec: Send + Sync {
    /// Returns whether it changes anything outside deployer.
    fn access(&self) -> Access;

    /// Returns what to do when its outcome is not known. Default: reads are repeated, writes are observed.
    fn recovery(&self) -> Recovery {
        match self.access() {
            Access::Read => Recovery::Repeat,
            Access::Write => Recovery::Observe,
        }
    }

    /// Returns how long the world may take. Default: [`DEFAULT_DEADLINE`]. Every effect has a deadline.
    fn deadline(&self) -> Duration {
        DEFAULT_DEADLINE
    }

    /// Returns whether a cancelled run may stop it halfway. True for what only waits or reads, and for work that is
    /// worthless until it is complete, such as a build. Default: only reads.
    fn interruptible(&self) -> bool {
        self.access() == Access::Read
    }

    /// Returns a read of the state before the effect, if [`EffectSpec::undo`] needs it.
    fn prior(&self) -> Option<Effect> {
        None
    }

    /// Returns the effect that undoes this one. It is computed before the effect is performed; `prior` is the outcome
    /// of [`EffectSpec::prior`].
    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        let _ = prior;
        Undo::Nothing
    }

    /// Returns a read that shows whether the effect was done, for [`Recovery::Observe`].
    fn evidence(&self) -> Option<Effect> {
        None
    }

    /// Judges the outcome of [`EffectSpec::evidence`]. An effect without evidence is done again.
    fn observe(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        let (_, _) = (pending, evidence);
        Observation::NotDone
    }

    /// Returns what a script gets in place of the unknown outcome when an operator states that the effect is done.
    fn assumed_outcome(&self) -> Option<Outcome> {
        None
    }

    /// Returns whether it checks that something is healthy. An old answer proves nothing, so a resumed run checks
    /// again before it continues.
    fn is_safety_check(&self) -> bool {
        false
    }

    /// Returns what stops answering requests once it is done.
    fn takes_down(&self) -> TakesDown {
        TakesDown::Nothing
    }

    /// Returns the service that the things it creates belong to, if it names one.
    fn service(&self) -> Option<&str> {
        None
    }

    /// Returns what it acts on in a word or two, for one line on a screen: a container's name, a path.
    fn subject(&self) -> String;
}
