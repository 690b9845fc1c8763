//! How a run ended, in what can be seen in the simulated world and on a real engine alike.

use std::collections::BTreeMap;

use deployer::effect::container::ContainerState;
use deployer::journal::entry::{RunEnd, RunStatus};
use deployer::verify::rehearsal::Rehearsed;

/// Two are equal when nobody could tell the runs apart by their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub status: RunStatus,
    pub exit_code: u8,
    pub committed: bool,
    pub answer: Seen,
    /// Name to whether it is up, which it is too while the engine starts it again.
    pub containers: BTreeMap<String, bool>,
}

/// What a visitor gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Good(String),
    Bad,
    Nobody,
}

impl Ending {
    pub fn of<'a>(
        end: &RunEnd,
        answer: Seen,
        containers: BTreeMap<String, bool>,
        mut warnings: impl Iterator<Item = &'a str>,
    ) -> Self {
        // Whether a container that dies again and again can be renamed is a matter of the moment; the next deploy does it.
        let unnamed = warnings.any(|text| text.contains("cannot be renamed while"));
        let named = |name: String| if unnamed { name.trim_end_matches("-next").to_owned() } else { name };
        let containers = containers.into_iter().map(|(name, is_up)| (named(name), is_up)).collect();
        Self { status: end.status, exit_code: end.exit_code, committed: end.committed, answer, containers }
    }

    pub fn simulated(run: &Rehearsed) -> Self {
        let end = run.end.as_ref().unwrap_or_else(|why| panic!("no end: {why}"));
        let answer = match &run.answers {
            None => Seen::Nobody,
            Some(answer) if answer.page.status < 400 => Seen::Good(answer.page.body.clone()),
            Some(_) => Seen::Bad,
        };
        let is_up = |state| matches!(state, ContainerState::Running | ContainerState::Restarting);
        let containers = run.after.containers.iter().map(|(name, standing)| (name.clone(), is_up(standing.state)));
        Self::of(end, answer, containers.collect(), run.warnings())
    }
}

/// The longest time without a good answer after the first, in ms; none when nobody answers at the end.
pub fn longest_outage(run: &Rehearsed) -> Option<u64> {
    let (mut longest, mut now) = (0, 0);
    for spell in run.spells.iter().skip_while(|spell| !spell.saw.is_good()) {
        now = if spell.saw.is_good() { 0 } else { now + spell.lasted_ms() };
        longest = longest.max(now);
    }
    (now == 0).then_some(longest)
}
