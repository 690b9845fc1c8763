//! Lets chosen effects go wrong, for tests and for `verify`. What only a world can bring about it passes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Door, Ticket};
use crate::base::seq::Seq;
pub use crate::effect::fault::FaultKind;
use crate::effect::fault::FaultSet;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// One fault: the `nth` time (from 1) that an effect of this kind reaches the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    pub kind: String,
    /// Only effects whose subject contains this; empty is any.
    pub subject: String,
    pub nth: u32,
    pub fault: FaultKind,
}

/// Where a fault strikes, whatever the timing of branches is: the `nth` time (from 1) that an effect of this kind
/// reaches the world from this place of the run. A place asks more than once when it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub seq: Seq,
    pub kind: String,
    pub nth: u32,
}

/// An effect that reached the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    pub place: Place,
    pub subject: String,
    /// What could have struck it.
    pub faults: FaultSet,
    /// What did.
    pub struck: Option<FaultKind>,
}

/// The faults of one run.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<(FaultRule, u32)>,
    places: BTreeMap<Place, FaultKind>,
    /// How often each place has asked for each kind.
    asked: BTreeMap<(Seq, &'static str), u32>,
    trail: Option<Vec<Reached>>,
}

impl Faults {
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        Self { inner: Mutex::new(Inner { rules, ..Inner::default() }) }
    }

    /// Faults at these places; and it is noted what reaches the world.
    pub fn at(places: impl IntoIterator<Item = (Place, FaultKind)>) -> Self {
        let inner = Inner { places: places.into_iter().collect(), trail: Some(Vec::new()), ..Inner::default() };
        Self { inner: Mutex::new(inner) }
    }

    /// How many effects reached the world so far.
    pub fn reached(&self) -> usize {
        self.lock().trail.as_ref().map_or(0, Vec::len)
    }

    /// What reached the world, in order; once, at the end.
    pub fn take_trail(&self) -> Vec<Reached> {
        self.lock().trail.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, seq: &Seq, effect: &Effect) -> Option<FaultKind> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let subject = effect.facts().subject();
        let mut by_rule = None;
        let met = |rule: &FaultRule| rule.kind == effect.kind() && subject.contains(&rule.subject);
        // Every rule counts, whichever strikes.
        for (rule, seen) in inner.rules.iter_mut().filter(|(rule, _)| met(rule)) {
            *seen += 1;
            by_rule = by_rule.or((*seen == rule.nth).then_some(rule.fault));
        }
        let Some(trail) = &mut inner.trail else { return by_rule };
        let nth = inner.asked.entry((seq.clone(), effect.kind())).or_default();
        *nth += 1;
        let place = Place { seq: seq.clone(), kind: effect.kind().into(), nth: *nth };
        let struck = inner.places.remove(&place).or(by_rule);
        let mut faults = FaultSet::of(effect);
        if !seq.is_of_script() {
            faults = faults.without_ends();
        }
        trail.push(Reached { place, subject, faults, struck });
        struck
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
            let Some(struck) = self.faults.next(&ticket.call.seq, effect) else {
                return self.next.perform(ticket, effect).await;
            };
            let kind = format!("{} {}", effect.kind(), effect.facts().subject());
            let kind = kind.trim_end();
            match struck {
                FaultKind::Refused => {
                    Err(EffectError::new(ErrorKind::Refused, format!("`{kind}` was refused (injected)")).not_applied())
                }
                FaultKind::Transient => {
                    Err(EffectError::new(ErrorKind::Unavailable, format!("`{kind}` got no answer (injected)"))
                        .not_applied())
                }
                FaultKind::TimeoutApplied => {
                    self.next.perform(ticket, effect).await?;
                    Err(EffectError::new(ErrorKind::Timeout, format!("`{kind}` did not end in time (injected)")))
                }
                FaultKind::TimeoutNotApplied => {
                    Err(EffectError::new(ErrorKind::Timeout, format!("`{kind}` did not end in time (injected)")))
                }
                fault => {
                    let mut struck = ticket.clone();
                    struck.call.fault = Some(fault);
                    self.next.perform(&struck, effect).await
                }
            }
        })
    }
}
