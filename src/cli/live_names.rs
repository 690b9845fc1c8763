//! Names for a shell that completes: of services and containers on the engine, of scripts and runs. A shell waits for
//! it, so whoever does not answer in a moment is left out.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;

use crate::app::{App, Options, open_world};
use crate::base::labels;
use crate::effect::container::Container;
use crate::run::census;
use crate::script::source::SHIPPED;
use crate::world::holder::Holder;

/// What a person at a keyboard takes for nothing.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Runs that are offered.
const RUNS: usize = 20;

/// Services on the engine.
pub fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, services_of(&containers()))
}

/// Services, containers, and the latest runs.
pub fn services_and_runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let containers = containers();
    let mut names = services_of(&containers);
    let others: Vec<String> =
        containers.into_iter().map(|container| container.name).filter(|name| !names.contains(name)).collect();
    names.extend(others);
    let journal = App::journal(None).ok().flatten();
    let runs = journal.and_then(|journal| journal.runs(RUNS).ok()).unwrap_or_default();
    names.extend(runs.into_iter().map(|run| run.run.to_string()));
    beginning(typed, names)
}

/// By the labels alone: a container that somebody made from an image of deployer's may name its service too.
fn services_of(containers: &[Container]) -> Vec<String> {
    let own = containers.iter().filter(|container| container.labels.contains_key(labels::EFFECT));
    let mut names: Vec<String> = own.filter_map(|container| container.labels.get(labels::SERVICE).cloned()).collect();
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

/// Those of the engine that the environment names, or of `--engine local`. None where nobody answers in time.
fn containers() -> Vec<Container> {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async {
        let here = Holder::this_process().ok()?;
        let line: Vec<String> = std::env::args().collect();
        let engine = line.windows(2).any(|two| two[0] == "--engine" && two[1] == "local");
        let engine =
            (engine || line.iter().any(|one| one == "--engine=local")).then_some(crate::app::EngineChoice::Local);
        let options = Options { engine, docker_host: None, state: None };
        let asked = async {
            let (world, _) = open_world(&options, &here).await.ok()?;
            census::containers(world.as_ref()).await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    });
    runtime.shutdown_background();
    found.unwrap_or_default()
}
