//! What the gateway must know of every request, so that no layer needs to know any request.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::compose::ComposePs;
use super::{Effect, Outcome};
use crate::base::container_ref::ContainerRef;

/// Whether performing it changes anything outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What to do with an intent whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Safe to do again.
    Repeat,
    /// Ask the world, by the effect's label or the state of things, whether it happened.
    Observe,
    /// Only a person can decide.
    Ask,
}

/// How an effect is taken back.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// There is nothing to take back.
    Nothing,
    /// This effect takes it back. It must not mind finding its work already done.
    Effect(Box<Effect>),
    /// It cannot be taken back; the text says why, and what a person can do.
    Impossible(String),
    /// It cannot be taken back, and that matters only if another run made what is gone now:
    /// what a run made itself, the undo of its making takes back.
    ImpossibleUnlessOwn {
        /// The run that made it, where one did.
        maker: Option<String>,
        why: String,
    },
}

/// What became of an effect whose outcome is not known.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It was done, and this would have come back.
    Happened(Box<Outcome>),
    /// A part of it was done: it must be taken back and done again.
    Partly,
    /// It was not done, or doing it again does no harm.
    Not,
}

impl Verdict {
    pub fn happened(outcome: Outcome) -> Self {
        Self::Happened(Box::new(outcome))
    }
}

/// Who stops to answer, by an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum TakesDown {
    Nobody,
    Container(ContainerRef),
    /// The containers of these compose services, or some of them.
    Compose(Box<ComposePs>),
}

/// What is known of an effect whose outcome is not.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// What the label `deployer.effect` of everything that it made says.
    pub effect_id: &'a str,
    /// The effect that takes it back, made from the state before it.
    pub undo: Option<&'a Effect>,
}

impl Undo {
    pub fn by(effect: impl Into<Effect>) -> Self {
        Self::Effect(Box::new(effect.into()))
    }
}

/// How long an effect may take that does not say otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Added to a request's own timeout before the gateway gives up on the world itself.
pub const GRACE: Duration = Duration::from_secs(15);

/// The facts of one request.
pub trait Facts: Send + Sync {
    fn access(&self) -> Access;

    fn recovery(&self) -> Recovery {
        match self.access() {
            Access::Read => Recovery::Repeat,
            Access::Write => Recovery::Observe,
        }
    }

    /// How long the world may take at the most. Every effect has a deadline.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Whether a cancelled run may leave it half-way: true for what only waits or reads,
    /// and for work whose half is worth nothing to anybody (a build).
    fn interruptible(&self) -> bool {
        self.access() == Access::Read
    }

    /// A read whose answer [`Facts::undo`] needs: the state before.
    fn prior(&self) -> Option<Effect> {
        None
    }

    /// The effect that takes this one back, known before it is performed. `prior` answers [`Facts::prior`].
    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        let _ = prior;
        Undo::Nothing
    }

    /// A read whose answer tells whether it was done, where [`Recovery::Observe`] asks for one.
    fn evidence(&self) -> Option<Effect> {
        None
    }

    /// What the answer to [`Facts::evidence`] tells. Without evidence, it is done again.
    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        let (_, _) = (trace, evidence);
        Verdict::Not
    }

    /// What a script gets in place of the outcome that nobody knows, when a person says that it is done.
    fn taken_as_done(&self) -> Option<Outcome> {
        None
    }

    /// Whether it asks if something is well. What it answered once says nothing of now: a run that is resumed asks
    /// again before it goes on.
    fn is_safety_check(&self) -> bool {
        false
    }

    /// Who will not answer any more once it is done.
    fn takes_down(&self) -> TakesDown {
        TakesDown::Nobody
    }

    /// The service that what it makes will belong to, where it says so.
    fn service(&self) -> Option<&str> {
        None
    }

    /// What it is about, in a word or two, for one line on a screen: a container's name, a path.
    fn subject(&self) -> String;
}

/// A request by its type: its one label and the type of its reply.
pub trait Request: Facts + Serialize + DeserializeOwned + Into<Effect> {
    const KIND: &'static str;
    type Reply: Serialize + DeserializeOwned;
}
