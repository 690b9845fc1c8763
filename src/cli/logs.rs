//! `deployer logs`: the output of a service's container, or the events of a run. `-f` follows.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::IntoDiagnostic;
use serde_json::json;

use super::command_error::CommandError;
use super::show::{find, journal};
use super::{EngineArgs, ShowAs, completion_values, terminal};
use crate::app::open_world;
use crate::base::container_ref::ContainerRef;
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::container::{Container, ContainerOutcome, ReadLogs};
use crate::effect::{EffectError, Outcome};
use crate::journal::entry::{Entry, RunEvent};
use crate::report::Format;
use crate::report::layout::one_line;
use crate::run::inventory::Inventory;
use crate::world::clock::{Clock, SystemClock};
use crate::world::process_identity::ProcessIdentity;
use crate::world::{Call, World};

/// How often `-f` reads.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How many lines are read again to find the new ones.
const OVERLAP: u64 = 2_000;

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A service, a container, or a run (its id, or `last`)
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(completion_values::services_and_runs))]
    name: String,
    /// Keep printing new lines until Ctrl-C or the end of the run
    #[arg(long, short)]
    follow: bool,
    /// How many lines of a service to print
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    lines: u64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn logs(args: LogsArgs) -> Result<u8, CommandError> {
    let here = ProcessIdentity::this_process().into_diagnostic()?;
    let found = match open_world(&args.engine.options()?, &here).await {
        Ok((world, _)) => {
            let inventory = Inventory::take(world.as_ref()).await.map_err(CommandError::from)?;
            container_of(&inventory, &args.name).map(|container| (world, container))
        }
        // The events of a run need no engine.
        Err(error) if journal(&args.engine.state).is_err() => return Err(error.into()),
        Err(_) => None,
    };
    match found {
        Some((world, container)) => of_container(&args, world.as_ref(), &container).await,
        None => of_run(&args).await,
    }
}

/// Finds the container of that name, else the live container of the service.
pub fn container_of(inventory: &Inventory, name: &str) -> Option<Container> {
    let named = inventory.containers.iter().find(|container| container.name == name);
    let mut of_service: Vec<&Container> =
        inventory.own_containers().filter(|(_, service)| *service == name).map(|(container, _)| container).collect();
    // The live container, or the one that started last.
    of_service.sort_by_key(|container| (!container.is_running(), std::cmp::Reverse(container.started_at.clone())));
    named.or_else(|| of_service.first().copied()).cloned()
}

async fn of_container(args: &LogsArgs, world: &dyn World, container: &Container) -> Result<u8, CommandError> {
    let mut seen = read(world, container, args.lines).await.map_err(CommandError::from)?;
    print(args, container, &seen)?;
    if !args.follow {
        return Ok(0);
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(0),
            () = world.clock().sleep(POLL_INTERVAL) => {}
        }
        let now = read(world, container, OVERLAP).await.map_err(CommandError::from)?;
        print(args, container, &now[count_seen(&seen, &now)..])?;
        seen = now;
    }
}

/// Counts the lines of `now` that were seen before: the longest beginning of `now` that is an end of `before`.
fn count_seen(before: &[String], now: &[String]) -> usize {
    let most = before.len().min(now.len());
    (1..=most)
        .rev()
        .map(|count| (&before[before.len() - count..], count))
        .find_map(|(end, count)| now.windows(count).rposition(|part| part == end).map(|at| at + count))
        .unwrap_or(0)
}

async fn read(world: &dyn World, container: &Container, tail: u64) -> Result<Vec<String>, EffectError> {
    let call = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), std::sync::Arc::new(Vault::empty()));
    let effect = ReadLogs { container: ContainerRef::new(container.id.clone()), tail }.into();
    match world.perform(&call, &effect).await? {
        Outcome::Container(ContainerOutcome::Logs(logs)) => Ok(logs.lines),
        _ => Ok(Vec::new()),
    }
}

fn print(args: &LogsArgs, container: &Container, lines: &[String]) -> Result<(), CommandError> {
    let text = |line: &String| match args.show_as.format {
        Some(Format::Json) => format!("{}\n", json!({ "container": container.name, "line": line })),
        _ => one_line(line) + "\n",
    };
    terminal::print(&lines.iter().map(text).collect::<String>())
}

async fn of_run(args: &LogsArgs) -> Result<u8, CommandError> {
    let journal = journal(&args.engine.state)?;
    let run = find(journal.as_ref(), &args.name, &args.engine.state)?;
    let mut reporter = terminal::show(args.show_as, false);
    let (mut last, clock) = (0, SystemClock::default());
    loop {
        let mut ended = false;
        let new: Vec<_> = journal.records(&run)?.into_iter().filter(|record| record.n > last).collect();
        for record in new {
            last = record.n;
            ended = matches!(record.entry, Entry::RunEnded { .. });
            reporter.show(&RunEvent::Recorded(record));
        }
        if !args.follow || ended {
            reporter.finish();
            return Ok(0);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(0),
            () = clock.sleep(POLL_INTERVAL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_lines_are_printed() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(count_seen(&lines("a b c"), &lines("a b c")), 3);
        assert_eq!(count_seen(&lines("a b c"), &lines("b c d e")), 2);
        assert_eq!(count_seen(&lines("b c"), &lines("a b c d")), 3);
        assert_eq!(count_seen(&lines("a a"), &lines("a a a")), 3);
        assert_eq!(count_seen(&lines("x"), &lines("a b")), 0);
    }
}
