//! `deployer logs`: what a service's container wrote; for a run, what happened in it. `-f` goes on with what comes.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::{IntoDiagnostic, Report};

use super::fault::Fault;
use super::show::{find, journal};
use super::{EngineArgs, ShowAs, live_names, terminal};
use crate::app::open_world;
use crate::base::container_ref::ContainerRef;
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::container::{Container, ContainerOutcome, ReadLogs};
use crate::effect::{EffectError, Outcome};
use crate::journal::entry::{Entry, RunEvent};
use crate::report::layout::one_line;
use crate::run::census::Census;
use crate::script::diagnostic::effect_diagnostic;
use crate::world::clock::{Clock, SystemClock};
use crate::world::holder::Holder;
use crate::world::{Call, World};

/// Between two looks of `-f`.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines that are read again to find out which of them are new.
const OVERLAP: u64 = 2_000;

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A service, a container, or a run (its id, or `last`)
    #[arg(add = ArgValueCompleter::new(live_names::services_and_runs))]
    of: String,
    /// Go on with what comes, until Ctrl-C, or the end of the run
    #[arg(long, short)]
    follow: bool,
    /// How many lines of a service
    #[arg(long, short = 'n', default_value_t = 100)]
    lines: u64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn logs(args: LogsArgs) -> Result<u8, Fault> {
    let here = Holder::this_process().into_diagnostic()?;
    let found = match open_world(&args.engine.options()?, &here).await {
        Ok((world, _)) => {
            let census = Census::take(world.as_ref()).await.map_err(report)?;
            container_of(&census, &args.of).map(|container| (world, container))
        }
        // A run is shown without an engine, too.
        Err(error) if journal(&args.engine.state).is_err() => return Err(error.into()),
        Err(_) => None,
    };
    match found {
        Some((world, container)) => of_container(&args, world.as_ref(), &container).await,
        None => of_run(&args).await,
    }
}

/// The container that is meant: of that name, else the one that serves.
pub fn container_of(census: &Census, name: &str) -> Option<Container> {
    let named = census.containers.iter().find(|container| container.name == name);
    let mut own: Vec<&Container> =
        census.own_containers().filter(|(_, service)| *service == name).map(|(container, _)| container).collect();
    // Whoever serves, the newest first.
    own.sort_by_key(|container| (!container.is_running(), std::cmp::Reverse(container.started_at.clone())));
    named.or_else(|| own.first().copied()).cloned()
}

async fn of_container(args: &LogsArgs, world: &dyn World, container: &Container) -> Result<u8, Fault> {
    let mut seen = read(world, container, args.lines).await.map_err(report)?;
    print(&seen)?;
    if !args.follow {
        return Ok(0);
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(0),
            () = world.clock().sleep(PAUSE) => {}
        }
        let now = read(world, container, OVERLAP).await.map_err(report)?;
        print(&now[known(&seen, &now)..])?;
        seen = now;
    }
}

/// How many of the lines of now were there before: the longest beginning of them that is an end of those.
fn known(before: &[String], now: &[String]) -> usize {
    let most = before.len().min(now.len());
    (1..=most)
        .rev()
        .map(|count| (&before[before.len() - count..], count))
        .find_map(|(end, count)| now.windows(count).rposition(|part| part == end).map(|at| at + count))
        .unwrap_or(0)
}

async fn read(world: &dyn World, container: &Container, tail: u64) -> Result<Vec<String>, EffectError> {
    let nobody = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), std::sync::Arc::new(Vault::empty()));
    let effect = ReadLogs { container: ContainerRef::new(container.id.clone()), tail }.into();
    match world.perform(&nobody, &effect).await? {
        Outcome::Container(ContainerOutcome::Logs(logs)) => Ok(logs.lines),
        _ => Ok(Vec::new()),
    }
}

fn print(lines: &[String]) -> Result<(), Fault> {
    terminal::print(&lines.iter().map(|line| one_line(line) + "\n").collect::<String>())
}

async fn of_run(args: &LogsArgs) -> Result<u8, Fault> {
    let journal = journal(&args.engine.state)?;
    let run = find(journal.as_ref(), &args.of)?;
    let mut face = terminal::show(args.show_as, false);
    let (mut last, clock) = (0, SystemClock::default());
    loop {
        let mut ended = false;
        let new: Vec<_> = journal.records(&run)?.into_iter().filter(|record| record.n > last).collect();
        for record in new {
            last = record.n;
            ended = matches!(record.entry, Entry::RunEnded { .. });
            face.show(&RunEvent::Recorded(record));
        }
        if !args.follow || ended {
            face.finish();
            return Ok(0);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(0),
            () = clock.sleep(PAUSE) => {}
        }
    }
}

fn report(error: EffectError) -> Fault {
    Fault::usage(Report::new(effect_diagnostic(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_lines_are_shown_again() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(known(&lines("a b c"), &lines("a b c")), 3);
        assert_eq!(known(&lines("a b c"), &lines("b c d e")), 2);
        assert_eq!(known(&lines("b c"), &lines("a b c d")), 3);
        assert_eq!(known(&lines("a a"), &lines("a a a")), 3);
        assert_eq!(known(&lines("x"), &lines("a b")), 0);
    }
}
