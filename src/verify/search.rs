//! The search: which attempts are made, in which order, by how many threads and for how long. Judges nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::runtime::Handle;

use super::attempt::{Attempt, Mishap, When};
use super::baseline::Baseline;
use super::chance::Chance;
use super::judge::judge;
use super::property::Finding;
use super::rehearsal::{Rehearsed, rehearse};
use super::subject::Subject;
use super::trace::Trace;
use crate::effect::EffectError;
use crate::journal::entry::{Purpose, RunStatus};
use crate::script::stack;
use crate::world::clock::Clock;

/// Most mishaps of a run that is made up by chance.
const MISHAPS: u64 = 4;

/// How far the search goes.
#[derive(Clone, Debug)]
pub struct Reach {
    /// 1: every single mishap; 2: all pairs too.
    pub depth: u8,
    /// Runs made up by chance, beyond.
    pub seeds: u64,
    /// The first of their seeds.
    pub first_seed: u64,
    /// None: to the end.
    pub seconds: Option<u64>,
    pub threads: usize,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub phase: &'static str,
    pub done: u64,
    pub planned: u64,
    pub violations: u64,
}

/// One part of the search.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub planned: u64,
    pub done: u64,
    pub elapsed_ms: u64,
}

/// A run in which something did not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    pub attempt: Attempt,
    pub finding: Finding,
    /// Attempts in which the same was found.
    pub attempts: u64,
}

/// What the search found.
#[derive(Debug, Default)]
pub struct Found {
    pub phases: Vec<Phase>,
    /// The simplest attempt of each kind of violation.
    pub violations: Vec<Violation>,
    /// Runs in which something did not hold.
    pub bad_runs: u64,
    /// How often each fault was tried at each kind of effect.
    pub tried: BTreeMap<String, BTreeMap<String, u64>>,
    /// Of all runs together, whatever their order.
    pub digest: String,
    pub effects: usize,
    pub stopped: bool,
}

impl Found {
    pub fn runs(&self) -> u64 {
        self.phases.iter().map(|phase| phase.done).sum()
    }
}

/// Why nothing could be searched.
#[derive(Debug)]
pub enum NoSearch {
    Scenario(EffectError),
    /// The script does not succeed where nothing goes wrong.
    Fails {
        status: RunStatus,
        why: String,
    },
}

/// Searches. Blocks, and uses `reach.threads` threads; `stop` ends it early.
///
/// # Errors
/// When there is nothing to search in.
pub fn search(
    subject: &Subject,
    reach: &Reach,
    handle: &Handle,
    clock: &Arc<dyn Clock>,
    stop: &AtomicBool,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Found, NoSearch> {
    let nothing = rehearse(subject, &Attempt::default(), handle).map_err(NoSearch::Scenario)?;
    match &nothing.end {
        Ok(end) if end.status == RunStatus::Succeeded => {}
        Ok(end) => {
            let why = end.error.clone().unwrap_or_default();
            return Err(NoSearch::Fails { status: end.status, why });
        }
        Err(why) => return Err(NoSearch::Fails { status: RunStatus::Running, why: why.clone() }),
    }
    let started_ms = clock.steady_ms();
    let search = Search {
        subject,
        reach,
        handle,
        clock,
        stop,
        tell,
        until_ms: reach.seconds.map(|seconds| started_ms.saturating_add(seconds.saturating_mul(1_000))),
        baseline: Baseline::of(&nothing),
        found: Mutex::default(),
        sum: Mutex::default(),
    };
    let calm = search.note(&nothing);
    search.found().effects = nothing.trail.len();
    search.found().phases.push(Phase { name: "nothing goes wrong", planned: 1, done: 1, elapsed_ms: 0 });
    let whole = Trace::of(&nothing);
    let calm = Classes::of(&calm);
    let deep = reach.depth > 1;
    let faults = search.phase("one fault", whole.faults(), &calm, &BTreeMap::new(), deep);
    let deaths = search.phase("one crash", whole.deaths(), &calm, &BTreeMap::new(), deep);
    if deep {
        let known: BTreeMap<Mishap, Classes> = faults.iter().chain(&deaths).filter_map(Tried::lone).collect();
        let pairs = || faults.iter().flat_map(|tried| tried.trace.faults_after());
        search.phase("two faults", Pairs::of(pairs), &calm, &known, false);
        let pairs = || deaths.iter().flat_map(|tried| tried.trace.faults_after());
        search.phase("a crash, then a fault", Pairs::of(pairs), &calm, &known, false);
        let pairs = || faults.iter().flat_map(|tried| tried.trace.deaths_after());
        search.phase("a fault, then a crash", Pairs::of(pairs), &calm, &known, false);
    }
    if reach.seeds > 0 {
        search.by_chance(&whole, &calm);
    }
    let mut found = search.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.digest = format!("{:032x}", search.sum.into_inner().unwrap_or_else(PoisonError::into_inner));
    found.violations.sort_by(|a, b| (a.finding.property, &a.attempt).cmp(&(b.finding.property, &b.attempt)));
    found.stopped = stop.load(Ordering::Acquire);
    Ok(found)
}

/// Attempts to be made, and how many.
pub struct Pairs<'a> {
    attempts: Box<dyn Iterator<Item = Attempt> + Send + 'a>,
    count: u64,
}

impl<'a> Pairs<'a> {
    /// From what makes them, one at a time: they are counted first, and never kept.
    pub fn of<I: Iterator<Item = Attempt> + Send + 'a>(make: impl Fn() -> I) -> Self {
        let count = u64::try_from(make().count()).unwrap_or(u64::MAX);
        Self { attempts: Box::new(make()), count }
    }
}

/// The kinds of violations that a run shows.
#[derive(Clone, Debug, Default)]
struct Classes(BTreeSet<(super::property::Property, bool)>);

impl Classes {
    fn of(findings: &[Finding]) -> Self {
        Self(findings.iter().map(Finding::class).collect())
    }
}

/// What is kept of a run for the pairs that begin with it.
struct Tried {
    trace: Trace,
    classes: Classes,
}

impl Tried {
    fn lone(&self) -> Option<(Mishap, Classes)> {
        self.trace.attempt.0.first().map(|mishap| (mishap.clone(), self.classes.clone()))
    }
}

struct Search<'a> {
    subject: &'a Subject,
    reach: &'a Reach,
    handle: &'a Handle,
    clock: &'a Arc<dyn Clock>,
    stop: &'a AtomicBool,
    tell: &'a (dyn Fn(Progress) + Sync),
    until_ms: Option<u64>,
    baseline: Baseline,
    found: Mutex<Found>,
    sum: Mutex<u128>,
}

impl Search<'_> {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.until_ms.is_some_and(|until| self.clock.steady_ms() >= until)
    }

    /// Makes all attempts of one part; returns what pairs begin with, where that is wanted.
    fn phase(
        &self,
        name: &'static str,
        pairs: Pairs<'_>,
        calm: &Classes,
        known: &BTreeMap<Mishap, Classes>,
        keep: bool,
    ) -> Vec<Tried> {
        let began_ms = self.clock.steady_ms();
        let (planned, attempts) = (pairs.count, Mutex::new(pairs.attempts));
        let done = Mutex::new(0);
        let kept = Mutex::new(Vec::new());
        let next = || attempts.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::scope(|scope| {
            let work = || {
                while let Some(attempt) = (!self.is_over()).then(next).flatten() {
                    let Ok(run) = rehearse(self.subject, &attempt, self.handle) else { continue };
                    let mut findings = self.note(&run);
                    let classes = Classes::of(&findings);
                    findings.retain(|finding| {
                        let class = finding.class();
                        let lone = |one| known.get(one).is_some_and(|of: &Classes| of.0.contains(&class));
                        !calm.0.contains(&class) && !attempt.0.iter().any(lone)
                    });
                    self.add(&attempt, findings);
                    if keep {
                        let tried = Tried { trace: Trace::of(&run), classes };
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(tried);
                    }
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    *done += 1;
                    let violations = u64::try_from(self.found().violations.len()).unwrap_or(u64::MAX);
                    (self.tell)(Progress { phase: name, done: *done, planned, violations });
                }
            };
            // Where the system has no room for more threads, this one does it all.
            let spawned = (0..self.reach.threads.max(1)).filter(|_| stack::spawn(scope, work).is_ok()).count();
            if spawned == 0 {
                work();
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ms = self.clock.steady_ms() - began_ms;
        self.found().phases.push(Phase { name, planned, done, elapsed_ms });
        kept.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs whose mishaps are made up one after the other, each from what the run before came to.
    fn by_chance(&self, whole: &Trace, calm: &Classes) {
        let seeds = self.reach.first_seed..self.reach.first_seed.saturating_add(self.reach.seeds);
        let attempts = || {
            seeds.clone().map(|seed| {
                let mut chance = Chance::new(seed);
                let mut attempt = Attempt::default();
                let mut trace = whole.clone();
                for _ in 0..2 + chance.below(MISHAPS - 1) {
                    let Some(mishap) = trace.pick(&mut chance) else { break };
                    attempt = attempt.and(mishap);
                    match rehearse(self.subject, &attempt, self.handle) {
                        Ok(run) => trace = Trace::of(&run),
                        Err(_) => break,
                    }
                }
                attempt
            })
        };
        let pairs = Pairs { attempts: Box::new(attempts()), count: self.reach.seeds };
        self.phase("by chance", pairs, calm, &BTreeMap::new(), false);
    }

    /// Counts a run, and holds the properties against it.
    fn note(&self, run: &Rehearsed) -> Vec<Finding> {
        let digest = u128::from_str_radix(&run.digest(), 16).unwrap_or_default();
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.wrapping_add(digest);
        drop(sum);
        let findings = judge(&self.baseline, self.subject.gap, run);
        let mut found = self.found();
        for mishap in &run.attempt.0 {
            let (kind, what) = match mishap {
                Mishap::Fault { place, fault } => (place.kind.clone(), fault.to_string()),
                Mishap::Death { when, then } => {
                    let when = if matches!(when, When::After(_)) { "before it" } else { "after it" };
                    let then = if *then == Purpose::Resume { "resumed" } else { "aborted" };
                    ("killed".to_owned(), format!("{when}, {then}"))
                }
            };
            *found.tried.entry(kind).or_default().entry(what).or_default() += 1;
        }
        found.bad_runs += u64::from(!findings.is_empty());
        if run.attempt.0.is_empty() {
            drop(found);
            self.add(&run.attempt, findings.clone());
        }
        findings
    }

    /// Keeps the simplest attempt of each kind of violation.
    fn add(&self, attempt: &Attempt, findings: Vec<Finding>) {
        let mut found = self.found();
        for finding in findings {
            let known = found.violations.iter_mut().find(|known| known.finding.kind() == finding.kind());
            match known {
                Some(known) => {
                    known.attempts += 1;
                    if (attempt.0.len(), attempt) < (known.attempt.0.len(), &known.attempt) {
                        (known.attempt, known.finding) = (attempt.clone(), finding);
                    }
                }
                None => found.violations.push(Violation { attempt: attempt.clone(), finding, attempts: 1 }),
            }
        }
    }
}
