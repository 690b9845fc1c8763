//! Injects faults into chosen effects, for tests and for `verify`. Faults that only a world can produce are passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Layer, RequestContext};
use crate::base::seq::Seq;
pub use crate::effect::fault::FaultKind;
use crate::effect::fault::FaultSet;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// One fault: the `nth` time (from 1) that an effect of this kind reaches the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// The kind of the effect, such as `docker_run`.
    pub kind: String,
    /// Only effects whose subject contains this; empty means any.
    pub subject: String,
    /// Which matching effect fails, counted from 1.
    pub nth: u32,
    /// What happens to it.
    pub fault: FaultKind,
}

/// Where a fault strikes, independent of the timing of branches: the `nth` time (from 1) that an effect of this kind
/// reaches the world from this position of the run. A retried effect reaches it more than once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FaultPosition {
    /// The position in the run.
    pub seq: Seq,
    /// The kind of the effect.
    pub kind: String,
    /// Which attempt at this position, counted from 1.
    pub nth: u32,
}

/// An effect that reached the world.
#[derive(Clone, Debug, PartialEq)]
pub struct ReachedEffect {
    /// Where a fault could strike it.
    pub position: FaultPosition,
    /// The subject of the effect, such as a container's name.
    pub subject: String,
    /// The faults that could strike it.
    pub faults: FaultSet,
    /// The fault that did.
    pub struck: Option<FaultKind>,
}

/// The faults of one run, and a record of what they could strike.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<(FaultRule, u32)>,
    positions: BTreeMap<FaultPosition, FaultKind>,
    /// How often each position has requested each kind.
    requested: BTreeMap<(Seq, &'static str), u32>,
    trail: Option<Vec<ReachedEffect>>,
    /// The effects whose connection was lost: each further attempt is refused.
    unreachable: BTreeSet<(Seq, &'static str)>,
}

impl Faults {
    /// Creates faults that strike by rule.
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        Self { inner: Mutex::new(Inner { rules, ..Inner::default() }) }
    }

    /// Creates faults that strike at these positions. What reaches the world is recorded.
    pub fn at(positions: impl IntoIterator<Item = (FaultPosition, FaultKind)>) -> Self {
        let positions = positions.into_iter().collect();
        Self { inner: Mutex::new(Inner { positions, trail: Some(Vec::new()), ..Inner::default() }) }
    }

    /// Returns how many effects have reached the world so far.
    pub fn reached(&self) -> usize {
        self.lock().trail.as_ref().map_or(0, Vec::len)
    }

    /// Takes the record of what reached the world, in order. Call it once, at the end.
    pub fn take_trail(&self) -> Vec<ReachedEffect> {
        self.lock().trail.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose_connection(&self, seq: &Seq, effect: &Effect) {
        self.lock().unreachable.insert((seq.clone(), effect.kind()));
    }

    fn is_unreachable(&self, seq: &Seq, effect: &Effect) -> bool {
        self.lock().unreachable.contains(&(seq.clone(), effect.kind()))
    }

    fn next(&self, seq: &Seq, effect: &Effect) -> Option<FaultKind> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let subject = effect.spec().subject();
        let mut by_rule = None;
        let matches = |rule: &FaultRule| rule.kind == effect.kind() && subject.contains(&rule.subject);
        // Every matching rule counts the effect, even when another rule strikes it.
        for (rule, seen) in inner.rules.iter_mut().filter(|(rule, _)| matches(rule)) {
            *seen += 1;
            by_rule = by_rule.or((*seen == rule.nth).then_some(rule.fault));
        }
        let Some(trail) = &mut inner.trail else { return by_rule };
        let nth = inner.requested.entry((seq.clone(), effect.kind())).or_default();
        *nth += 1;
        let position = FaultPosition { seq: seq.clone(), kind: effect.kind().into(), nth: *nth };
        let struck = inner.positions.remove(&position).or(by_rule);
        let mut faults = FaultSet::of(effect);
        if !seq.is_from_script() {
            faults = faults.without_container_failures();
        }
        trail.push(ReachedEffect { position, subject, faults, struck });
        struck
    }
}

/// Injects the faults of a run.
pub struct FaultLayer {
    next: Arc<dyn Layer>,
    faults: Arc<Faults>,
}

impl FaultLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>, faults: Arc<Faults>) -> Self {
        Self { next, faults }
    }
}

impl Layer for FaultLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            if self.faults.is_unreachable(&context.call.seq, effect) {
                let message = format!("`{}`: the connection was refused (injected)", effect.kind());
                return Err(EffectError::new(ErrorKind::Unavailable, message).not_applied());
            }
            let Some(struck) = self.faults.next(&context.call.seq, effect) else {
                return self.next.perform(context, effect).await;
            };
            let kind = format!("{} {}", effect.kind(), effect.spec().subject());
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
                    self.next.perform(context, effect).await?;
                    Err(EffectError::new(ErrorKind::Timeout, format!("`{kind}` did not end in time (injected)")))
                }
                FaultKind::ConnectionLost => {
                    self.next.perform(context, effect).await?;
                    self.faults.lose_connection(&context.call.seq, effect);
                    Err(EffectError::new(ErrorKind::Unavailable, format!("`{kind}` lost its connection (injected)")))
                }
                FaultKind::TimeoutNotApplied => {
                    Err(EffectError::new(ErrorKind::Timeout, format!("`{kind}` did not end in time (injected)")))
                }
                fault => {
                    let mut struck = context.clone();
                    struck.call.fault = Some(fault);
                    self.next.perform(&struck, effect).await
                }
            }
        })
    }
}
