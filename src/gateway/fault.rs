//! Lets chosen effects go wrong, for tests and for `verify`.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::{Door, Ticket};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Refused for good; nothing was changed.
    Refused,
    /// A passing fault: the next try of the same effect goes through.
    Transient,
    /// It was done, and the answer got lost.
    TimeoutApplied,
    /// It was not done, and nobody can tell.
    TimeoutNotApplied,
}

/// One fault: the `nth` time (from 1) that an effect of this kind reaches the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    pub kind: String,
    /// Only effects whose subject contains this; empty is any.
    pub subject: String,
    pub nth: u32,
    pub fault: FaultKind,
}

/// The faults of one run.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<(FaultRule, u32)>>,
}

impl Faults {
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self { rules: Mutex::new(rules.into_iter().map(|rule| (rule, 0)).collect()) }
    }

    fn next(&self, effect: &Effect) -> Option<FaultKind> {
        let subject = effect.facts().subject();
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter_mut().filter(|(rule, _)| rule.kind == effect.kind() && subject.contains(&rule.subject)).find_map(
            |(rule, seen)| {
                *seen += 1;
                (*seen == rule.nth).then_some(rule.fault)
            },
        )
    }
}

pub struct Fault {
    next: Arc<dyn Door>,
    faults: Arc<Faults>,
}

impl Fault {
    pub fn new(next: Arc<dyn Door>, faults: Arc<Faults>) -> Self {
        Self { next, faults }
    }
}

impl Door for Fault {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let kind = effect.kind();
            match self.faults.next(effect) {
                None => self.next.perform(ticket, effect).await,
                Some(FaultKind::Refused) => {
                    Err(EffectError::new(ErrorKind::Refused, format!("`{kind}` was refused (injected)")).not_applied())
                }
                Some(FaultKind::Transient) => {
                    Err(EffectError::new(ErrorKind::Unavailable, format!("`{kind}` got no answer (injected)"))
                        .not_applied())
                }
                Some(FaultKind::TimeoutApplied) => {
                    self.next.perform(ticket, effect).await?;
                    Err(EffectError::new(ErrorKind::Timeout, format!("`{kind}` did not end in time (injected)")))
                }
                Some(FaultKind::TimeoutNotApplied) => {
                    Err(EffectError::new(ErrorKind::Timeout, format!("`{kind}` did not end in time (injected)")))
                }
            }
        })
    }
}
