//! How a run ended, in terms that can be observed both in the simulated world and on a real engine.

use std::collections::BTreeMap;

use deployer::effect::container::ContainerState;
use deployer::journal::entry::{RunEnd, RunStatus};
use deployer::verify::simulated_run::SimulatedRun;

/// The observable end of a run. Two runs with equal end states cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndState {
    pub status: RunStatus,
    pub exit_code: u8,
    pub committed: bool,
    pub response: Response,
    /// Whether each container is up, by name. A container that the engine is restarting is up.
    pub containers: BTreeMap<String, bool>,
}

/// What a client receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    Good(String),
    Bad,
    NoAnswer,
}

impl EndState {
    pub fn of<'a>(
        end: &RunEnd,
        response: Response,
        containers: BTreeMap<String, bool>,
        mut warnings: impl Iterator<Item = &'a str>,
    ) -> Self {
        // Whether a container in a crash loop can be renamed depends on the moment; if not, the next deploy renames it.
        let unnamed = warnings.any(|text| text.contains("cannot be renamed while"));
        let named = |name: String| if unnamed { name.trim_end_matches("-next").to_owned() } else { name };
        let containers = containers.into_iter().map(|(name, is_up)| (named(name), is_up)).collect();
        Self { status: end.status, exit_code: end.exit_code, committed: end.committed, response, containers }
    }

    pub fn simulated(run: &SimulatedRun) -> Self {
        let end = run.end.as_ref().unwrap_or_else(|why| panic!("no end: {why}"));
        let response = match &run.answers {
            None => Response::NoAnswer,
            Some(response) if response.response.status < 400 => Response::Good(response.response.body.clone()),
            Some(_) => Response::Bad,
        };
        let is_up = |state| matches!(state, ContainerState::Running | ContainerState::Restarting);
        let containers = run.after.containers.iter().map(|(name, container)| (name.clone(), is_up(container.state)));
        Self::of(end, response, containers.collect(), run.warnings())
    }
}

/// The longest time without a good response after the first one, in ms; `None` if there is no response at the end.
pub fn longest_outage(run: &SimulatedRun) -> Option<u64> {
    let (mut longest, mut current) = (0, 0);
    for interval in run.spells.iter().skip_while(|interval| !interval.result.is_good()) {
        current = if interval.result.is_good() { 0 } else { current + interval.duration_ms() };
        longest = longest.max(current);
    }
    (current == 0).then_some(longest)
}
