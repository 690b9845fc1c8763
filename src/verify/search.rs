//! The search: which attempts are made, in which order, by how many threads and for how long. Judges nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::runtime::Handle;

use super::attempt::{Attempt, InjectedFault};
use super::attempt_queue::AttemptQueue;
use super::baseline::Baseline;
use super::judge::judge;
use super::property::Finding;
use super::simulated_run::{SimulatedRun, simulate};
use super::split_mix::SplitMix64;
use super::target::VerifyTarget;
use super::trace::RunTrace;
use crate::effect::EffectError;
use crate::journal::crashing_journal::CrashPoint;
use crate::journal::entry::{Entry, Purpose, Record, RunStatus};
use crate::script::stack;
use crate::world::clock::Clock;

/// Maximum number of faults in a random run.
const MAX_RANDOM_FAULTS: u64 = 4;

/// How far the search goes.
#[derive(Clone, Debug)]
pub struct SearchLimits {
    /// 1: every single fault; 2: all pairs too.
    pub depth: u8,
    /// The number of extra random runs.
    pub seeds: u64,
    /// The seed of the first random run.
    pub first_seed: u64,
    /// The time limit; `None` is no limit.
    pub seconds: Option<u64>,
    /// The number of threads.
    pub threads: usize,
}

/// How far the search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The current phase.
    pub phase: &'static str,
    /// How many runs of it are done.
    pub done: u64,
    /// How many runs it has.
    pub planned: u64,
    /// How many violations were found so far.
    pub violations: u64,
}

/// One phase of the search.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// How many runs it has.
    pub planned: u64,
    /// How many are done.
    pub done: u64,
    /// How long they took.
    pub elapsed_ms: u64,
}

/// A run that violates a property, with the faults that lead to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// The faults of the run.
    pub attempt: Attempt,
    /// What was found.
    pub finding: Finding,
    /// The number of attempts with the same finding.
    pub attempts: u64,
}

/// What the search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The phases.
    pub phases: Vec<Phase>,
    /// The simplest attempt of each kind of violation.
    pub violations: Vec<Violation>,
    /// The number of runs with a violation.
    pub bad_runs: u64,
    /// How often each fault was tried at each kind of effect.
    pub tried: BTreeMap<String, BTreeMap<String, u64>>,
    /// The digest of all runs together, independent of their order.
    pub digest: String,
    /// Effects in a run without a fault.
    pub effects: usize,
    /// Whether the search was stopped early.
    pub stopped: bool,
}

impl Found {
    /// Returns the number of runs.
    pub fn runs(&self) -> u64 {
        self.phases.iter().map(|phase| phase.done).sum()
    }
}

/// Why the search could not start.
#[derive(Debug)]
pub enum SearchError {
    /// The scenario cannot be set up.
    Scenario(EffectError),
    /// The script does not succeed without a fault.
    Fails {
        /// How it ends instead.
        status: RunStatus,
        /// Why.
        why: String,
    },
}

/// Searches for violations. Blocks, and uses `limits.threads` threads; `stop` ends it early.
///
/// # Errors
/// When the search cannot start.
pub fn search(
    subject: &VerifyTarget,
    limits: &SearchLimits,
    handle: &Handle,
    clock: &Arc<dyn Clock>,
    stop: &AtomicBool,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Found, SearchError> {
    let nothing = simulate(subject, &Attempt::default(), handle).map_err(SearchError::Scenario)?;
    match &nothing.end {
        Ok(end) if end.status == RunStatus::Succeeded => {}
        Ok(end) => {
            let why = end.error.clone().unwrap_or_default();
            return Err(SearchError::Fails { status: end.status, why });
        }
        Err(why) => return Err(SearchError::Fails { status: RunStatus::Running, why: why.clone() }),
    }
    let started_ms = clock.steady_ms();
    let search = Search {
        subject,
        limits,
        handle,
        clock,
        stop,
        tell,
        until_ms: limits.seconds.map(|seconds| started_ms.saturating_add(seconds.saturating_mul(1_000))),
        baseline: Baseline::of(&nothing),
        found: Mutex::default(),
        sum: Mutex::default(),
    };
    let calm = search.note(&nothing);
    search.found().effects = nothing.trail.len();
    search.found().phases.push(Phase { name: "no fault", planned: 1, done: 1, elapsed_ms: 0 });
    let whole = RunTrace::of(&nothing);
    let calm = Classes::of(&calm);
    let deep = limits.depth > 1;
    let faults = search.phase("one fault", whole.faults(), &calm, &BTreeMap::new(), deep);
    let crashes = search.phase("one crash", whole.crashes(), &calm, &BTreeMap::new(), deep);
    search.other_branch_order(&nothing, &calm);
    if deep {
        let known: BTreeMap<InjectedFault, Classes> = faults.iter().chain(&crashes).filter_map(Tried::lone).collect();
        let pairs = || faults.iter().flat_map(|tried| tried.trace.faults_after());
        search.phase("two faults", AttemptQueue::of(pairs), &calm, &known, false);
        let pairs = || crashes.iter().flat_map(|tried| tried.trace.faults_after());
        search.phase("a crash, then a fault", AttemptQueue::of(pairs), &calm, &known, false);
        let pairs = || faults.iter().flat_map(|tried| tried.trace.crashes_after());
        search.phase("a fault, then a crash", AttemptQueue::of(pairs), &calm, &known, false);
    }
    if limits.seeds > 0 {
        search.random(&whole, &calm);
    }
    let mut found = search.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.digest = format!("{:032x}", search.sum.into_inner().unwrap_or_else(PoisonError::into_inner));
    found.violations.sort_by(|a, b| (a.finding.property, &a.attempt).cmp(&(b.finding.property, &b.attempt)));
    found.stopped = stop.load(Ordering::Acquire);
    Ok(found)
}

/// The kinds of violations that a run shows.
#[derive(Clone, Debug, Default)]
struct Classes(BTreeSet<(super::property::Property, bool)>);

impl Classes {
    fn of(findings: &[Finding]) -> Self {
        Self(findings.iter().map(Finding::class).collect())
    }
}

/// What is kept of a run for the pairs that start with it.
struct Tried {
    trace: RunTrace,
    classes: Classes,
}

impl Tried {
    fn lone(&self) -> Option<(InjectedFault, Classes)> {
        self.trace.attempt.0.first().map(|fault| (fault.clone(), self.classes.clone()))
    }
}

struct Search<'a> {
    subject: &'a VerifyTarget,
    limits: &'a SearchLimits,
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

    /// Makes all attempts of one phase. With `keep`, returns what the pairs start with.
    fn phase(
        &self,
        name: &'static str,
        queue: AttemptQueue<'_>,
        calm: &Classes,
        known: &BTreeMap<InjectedFault, Classes>,
        keep: bool,
    ) -> Vec<Tried> {
        let began_ms = self.clock.steady_ms();
        let (planned, attempts) = (queue.count, Mutex::new(queue.attempts));
        let done = Mutex::new(0);
        let kept = Mutex::new(Vec::new());
        let next = || attempts.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::scope(|scope| {
            let work = || {
                while let Some(attempt) = (!self.is_over()).then(next).flatten() {
                    let Ok(run) = simulate(self.subject, &attempt, self.handle) else { continue };
                    let mut findings = self.note(&run);
                    let classes = Classes::of(&findings);
                    findings.retain(|finding| {
                        let class = finding.class();
                        let lone = |one| known.get(one).is_some_and(|of: &Classes| of.0.contains(&class));
                        !calm.0.contains(&class) && !attempt.0.iter().any(lone)
                    });
                    self.add(&attempt, findings);
                    if keep {
                        let tried = Tried { trace: RunTrace::of(&run), classes };
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(tried);
                    }
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    *done += 1;
                    let violations = u64::try_from(self.found().violations.len()).unwrap_or(u64::MAX);
                    (self.tell)(Progress { phase: name, done: *done, planned, violations });
                }
            };
            // If the system refuses more threads, this one does the work.
            let spawned = (0..self.limits.threads.max(1)).filter(|_| stack::spawn(scope, work).is_ok()).count();
            if spawned == 0 {
                work();
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ms = self.clock.steady_ms() - began_ms;
        self.found().phases.push(Phase { name, planned, done, elapsed_ms });
        kept.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Crashes runs in which the last branch of a `parallel` runs first: then each branch was ahead of each other one.
    fn other_branch_order(&self, calm_run: &SimulatedRun, calm: &Classes) {
        let opens = |record: &Record| matches!(record.entry, Entry::ParallelOpened { branches, .. } if branches > 1);
        if !calm_run.records.iter().any(opens) {
            return;
        }
        let reversed = Attempt::one(InjectedFault::LastBranchFirst);
        let Ok(run) = simulate(self.subject, &reversed, self.handle) else { return };
        let trace = RunTrace::of(&run);
        let attempts = || std::iter::once(reversed.clone()).chain(trace.crashes_after());
        self.phase("last branch first", AttemptQueue::of(attempts), calm, &BTreeMap::new(), false);
    }

    /// Makes random attempts. Each fault is picked from the run with the faults before it.
    fn random(&self, whole: &RunTrace, calm: &Classes) {
        let seeds = self.limits.first_seed..self.limits.first_seed.saturating_add(self.limits.seeds);
        let attempts = || {
            seeds.clone().map(|seed| {
                let mut random = SplitMix64::new(seed);
                let mut attempt = Attempt::default();
                let mut trace = whole.clone();
                for _ in 0..2 + random.below(MAX_RANDOM_FAULTS - 1) {
                    let Some(fault) = trace.pick(&mut random) else { break };
                    attempt = attempt.and(fault);
                    match simulate(self.subject, &attempt, self.handle) {
                        Ok(run) => trace = RunTrace::of(&run),
                        Err(_) => break,
                    }
                }
                attempt
            })
        };
        let queue = AttemptQueue::with_count(attempts(), self.limits.seeds);
        self.phase("random", queue, calm, &BTreeMap::new(), false);
    }

    /// Counts a run, and checks its properties.
    fn note(&self, run: &SimulatedRun) -> Vec<Finding> {
        let digest = u128::from_str_radix(&run.digest(), 16).unwrap_or_default();
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.wrapping_add(digest);
        drop(sum);
        let findings = judge(&self.baseline, self.subject.gap, run);
        let mut found = self.found();
        for injected in &run.attempt.0 {
            let (kind, what) = match injected {
                InjectedFault::LastBranchFirst => ("parallel".to_owned(), "last branch first".to_owned()),
                InjectedFault::Fault { position, fault } => (position.kind.clone(), fault.to_string()),
                InjectedFault::Crash { at, then } => {
                    let when = if matches!(at, CrashPoint::After(_)) { "before it" } else { "after it" };
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
