//! Names for a shell that completes: of services and containers on the engine, of scripts and runs. A shell waits for
//! it, so whoever does not answer in a moment is left out.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;

use crate::app::{App, Options, open_world};
use crate::run::census::Census;
use crate::script::source::SHIPPED;
use crate::world::holder::Holder;

/// What a person at a keyboard takes for nothing.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Runs that are offered.
const RUNS: usize = 20;

/// Services on the engine.
pub fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, census().iter().flat_map(services_of).collect())
}

/// Services, containers, and the latest runs.
pub fn services_and_runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let census = census();
    let mut names: Vec<String> = census.iter().flat_map(services_of).collect();
    let containers = census.into_iter().flat_map(|census| census.containers).map(|container| container.name);
    let others: Vec<String> = containers.filter(|name| !names.contains(name)).collect();
    names.extend(others);
    let journal = App::journal(None).ok().flatten();
    let runs = journal.and_then(|journal| journal.runs(RUNS).ok()).unwrap_or_default();
    names.extend(runs.into_iter().map(|run| run.run.to_string()));
    beginning(typed, names)
}

fn services_of(census: &Census) -> Vec<String> {
    let mut names: Vec<String> = census.own_containers().map(|(_, service)| service.to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Scripts that come along, and those in the folder.
pub fn scripts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    for entry in std::fs::read_dir(".").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rhai") && !names.contains(&name) {
            names.push(name);
        }
    }
    beginning(typed, names)
}

fn beginning(typed: &OsStr, names: Vec<String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// The engine that the environment names, and `--engine local` where no Docker answers.
fn census() -> Option<Census> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?;
    let found = runtime.block_on(async {
        let here = Holder::this_process().ok()?;
        let line: Vec<String> = std::env::args().collect();
        let engine = line.windows(2).any(|two| two[0] == "--engine" && two[1] == "local");
        let engine =
            (engine || line.iter().any(|one| one == "--engine=local")).then_some(crate::app::EngineChoice::Local);
        let options = Options { engine, docker_host: None, state: None };
        let asked = async {
            let (world, _) = open_world(&options, &here).await.ok()?;
            Census::take(world.as_ref()).await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    });
    runtime.shutdown_background();
    found
}
