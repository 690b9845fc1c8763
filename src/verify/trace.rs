//! What is kept of a run for the attempts that extend it: where faults could have struck, and where it could have
//! crashed. Small, because there is one for every run of the first depth.

use std::sync::Arc;

use super::attempt::{Attempt, InjectedFault};
use super::attempt_queue::AttemptQueue;
use super::simulated_run::SimulatedRun;
use super::split_mix::SplitMix64;
use crate::base::seq::Seq;
use crate::effect::fault::FaultSet;
use crate::gateway::fault::FaultPosition;
use crate::journal::crashing_journal::CrashPoint;
use crate::journal::entry::{Entry, EntryAccess, Purpose};

const PURPOSES: [Purpose; 2] = [Purpose::Resume, Purpose::Abort];

/// The positions of a run where something can go wrong.
#[derive(Clone)]
pub struct RunTrace {
    pub attempt: Attempt,
    reached: Arc<[(FaultPosition, FaultSet)]>,
    /// The first of them after the last fault.
    after: usize,
    /// Where the first process could have crashed after the last fault.
    crashes: Arc<[CrashPoint]>,
}

impl RunTrace {
    pub fn of(run: &SimulatedRun) -> Self {
        let struck = run.trail.iter().rposition(|reached| reached.struck.is_some()).map_or(0, |index| index + 1);
        let crashed = run.attempt.crash().map_or(0, |_| run.first_trail);
        let reached = run.trail.iter().map(|reached| (reached.position.clone(), reached.faults)).collect();
        Self { attempt: run.attempt.clone(), reached, after: struck.max(crashed), crashes: crashes(run) }
    }

    /// Returns every fault at every position.
    pub fn faults(&self) -> AttemptQueue<'_> {
        AttemptQueue::of(|| self.faults_after())
    }

    /// Returns every crash, resumed and aborted.
    pub fn crashes(&self) -> AttemptQueue<'_> {
        AttemptQueue::of(|| self.crashes_after())
    }

    /// Extends this attempt by every fault after it.
    pub fn faults_after(&self) -> impl Iterator<Item = Attempt> + Send + '_ {
        self.reached[self.after..].iter().flat_map(move |(position, faults)| {
            faults.iter().map(move |fault| self.attempt.and(InjectedFault::Fault { position: position.clone(), fault }))
        })
    }

    /// Extends this attempt by every crash after it.
    pub fn crashes_after(&self) -> impl Iterator<Item = Attempt> + Send + '_ {
        self.crashes
            .iter()
            .flat_map(move |at| PURPOSES.map(|then| self.attempt.and(InjectedFault::Crash { at: *at, then })))
    }

    /// Picks a random fault or crash.
    pub fn pick(&self, random: &mut SplitMix64) -> Option<InjectedFault> {
        let faults = self.reached.len() - self.after;
        let crashes = if self.attempt.crash().is_some() { 0 } else { self.crashes.len() };
        // One in four is a crash: by number, there are as many crash points as faults.
        if crashes > 0 && random.below(4) == 0 {
            let at = self.crashes[usize::try_from(random.below(crashes as u64)).unwrap_or(0)];
            return Some(InjectedFault::Crash { at, then: PURPOSES[usize::try_from(random.below(2)).unwrap_or(0)] });
        }
        if faults == 0 {
            return None;
        }
        let (position, set) = &self.reached[self.after + usize::try_from(random.below(faults as u64)).unwrap_or(0)];
        let count = u64::try_from(set.iter().count()).unwrap_or(0);
        let fault = set.iter().nth(usize::try_from(random.below(count)).unwrap_or(0))?;
        Some(InjectedFault::Fault { position: position.clone(), fault })
    }
}

/// Returns every point where the first process could have crashed, from its last fault on. A crash before an entry is the
/// same as one after the entry before it, except before the outcome of a change, which has happened.
fn crashes(run: &SimulatedRun) -> Arc<[CrashPoint]> {
    let struck = |seq: &Seq| run.attempt.faults().any(|(position, _)| position.seq == *seq);
    let changes = |seq: &Seq| {
        run.records.iter().any(|record| match &record.entry {
            Entry::Intended { intent } => intent.seq == *seq && intent.access == EntryAccess::Write,
            _ => false,
        })
    };
    let first = run.records.iter().find_map(|record| match &record.entry {
        Entry::Intended { intent } if struck(&intent.seq) => Some(record.n),
        _ => None,
    });
    let mut points = Vec::new();
    for record in run.records.iter().filter(|record| record.n <= run.written && record.n >= first.unwrap_or(1)) {
        match &record.entry {
            Entry::RunEnded { .. } => {
                points.push(CrashPoint::Before(record.n));
                continue;
            }
            Entry::Completed { seq, .. } | Entry::Failed { seq, .. } if changes(seq) => {
                points.push(CrashPoint::Before(record.n));
            }
            _ => {}
        }
        points.push(CrashPoint::After(record.n));
    }
    points.into()
}
