//! What is kept of a run for the attempts that go further than it: where faults could have struck, and where it could
//! have died. Small, since there is one for every run of the first depth.

use std::sync::Arc;

use super::attempt::{Attempt, Mishap, When};
use super::chance::Chance;
use super::rehearsal::Rehearsed;
use super::search::Pairs;
use crate::base::seq::Seq;
use crate::effect::fault::FaultSet;
use crate::gateway::fault::Place;
use crate::journal::entry::{Entry, EntryAccess, Purpose};

const WAYS: [Purpose; 2] = [Purpose::Resume, Purpose::Abort];

/// The places of a run.
#[derive(Clone)]
pub struct Trace {
    pub attempt: Attempt,
    reached: Arc<[(Place, FaultSet)]>,
    /// The first of them after the last mishap.
    after: usize,
    /// Where the first process could have died after the last mishap.
    deaths: Arc<[When]>,
}

impl Trace {
    pub fn of(run: &Rehearsed) -> Self {
        let struck = run.trail.iter().rposition(|reached| reached.struck.is_some()).map_or(0, |place| place + 1);
        let died = run.attempt.death().map_or(0, |_| run.first_trail);
        let reached = run.trail.iter().map(|reached| (reached.place.clone(), reached.faults)).collect();
        Self { attempt: run.attempt.clone(), reached, after: struck.max(died), deaths: deaths(run) }
    }

    /// Every fault at every place.
    pub fn faults(&self) -> Pairs<'_> {
        Pairs::of(|| self.faults_after())
    }

    /// Every death, gone on with in both ways.
    pub fn deaths(&self) -> Pairs<'_> {
        Pairs::of(|| self.deaths_after())
    }

    /// This attempt and every fault after it.
    pub fn faults_after(&self) -> impl Iterator<Item = Attempt> + Send + '_ {
        self.reached[self.after..].iter().flat_map(move |(place, faults)| {
            faults.iter().map(move |fault| self.attempt.and(Mishap::Fault { place: place.clone(), fault }))
        })
    }

    /// This attempt and every death after it.
    pub fn deaths_after(&self) -> impl Iterator<Item = Attempt> + Send + '_ {
        self.deaths.iter().flat_map(move |when| WAYS.map(|then| self.attempt.and(Mishap::Death { when: *when, then })))
    }

    /// One of all of these.
    pub fn pick(&self, chance: &mut Chance) -> Option<Mishap> {
        let faults = self.reached.len() - self.after;
        let deaths = if self.attempt.death().is_some() { 0 } else { self.deaths.len() };
        // A death now and then: there are as many of them as of faults.
        if deaths > 0 && chance.below(4) == 0 {
            let when = self.deaths[usize::try_from(chance.below(deaths as u64)).unwrap_or(0)];
            return Some(Mishap::Death { when, then: WAYS[usize::try_from(chance.below(2)).unwrap_or(0)] });
        }
        if faults == 0 {
            return None;
        }
        let (place, set) = &self.reached[self.after + usize::try_from(chance.below(faults as u64)).unwrap_or(0)];
        let count = u64::try_from(set.iter().count()).unwrap_or(0);
        let fault = set.iter().nth(usize::try_from(chance.below(count)).unwrap_or(0))?;
        Some(Mishap::Fault { place: place.clone(), fault })
    }
}

/// Every point at which the first process could have died, from its last mishap on. To die before an entry is to die
/// after the one before, but for the outcome of a change: that has happened.
fn deaths(run: &Rehearsed) -> Arc<[When]> {
    let struck = |seq: &Seq| run.attempt.faults().any(|(place, _)| place.seq == *seq);
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
                points.push(When::Before(record.n));
                continue;
            }
            Entry::Completed { seq, .. } | Entry::Failed { seq, .. } if changes(seq) => {
                points.push(When::Before(record.n));
            }
            _ => {}
        }
        points.push(When::After(record.n));
    }
    points.into()
}
