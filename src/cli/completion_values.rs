//! Values for shell completion: services and containers on the engine, scripts and runs. The shell waits for them, so an
//! engine that does not answer quickly is left out.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;

use crate::app::{App, Options, open_world};
use crate::base::labels;
use crate::effect::container::Container;
use crate::run::inventory;
use crate::script::source::SHIPPED;
use crate::world::process_identity::ProcessIdentity;

/// How long to wait for the engine.
const ENGINE_TIMEOUT: Duration = Duration::from_millis(1500);
/// The number of runs that are offered.
const RUNS: usize = 20;

/// Completes services on the engine.
pub fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    matching(typed, services_of(&containers()))
}

/// Completes services, containers and the latest runs.
pub fn services_and_runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let containers = containers();
    let mut names = services_of(&containers);
    let others: Vec<String> =
        containers.into_iter().map(|container| container.name).filter(|name| !names.contains(name)).collect();
    names.extend(others);
    let journal = App::journal(None).ok().flatten();
    let runs = journal.and_then(|journal| journal.runs(RUNS).ok()).unwrap_or_default();
    names.extend(runs.into_iter().map(|run| run.run.to_string()));
    matching(typed, names)
}

/// Returns the services of the containers that deployer created. The label of the effect tells them from containers that
/// were started by hand from the same image.
fn services_of(containers: &[Container]) -> Vec<String> {
    let created = containers.iter().filter(|container| container.labels.contains_key(labels::EFFECT));
    let mut names: Vec<String> =
        created.filter_map(|container| container.labels.get(labels::SERVICE).cloned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Completes included scripts and those in the folder.
pub fn scripts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut names: Vec<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    for entry in std::fs::read_dir(".").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rhai") && !names.contains(&name) {
            names.push(name);
        }
    }
    matching(typed, names)
}

fn matching(typed: &OsStr, names: Vec<String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Lists the containers of the engine from the environment, or of `--engine local`. Empty when it does not answer in
/// time.
fn containers() -> Vec<Container> {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async {
        let here = ProcessIdentity::this_process().ok()?;
        let line: Vec<String> = std::env::args().collect();
        let local = line.windows(2).any(|pair| pair[0] == "--engine" && pair[1] == "local")
            || line.iter().any(|argument| argument == "--engine=local");
        let engine = local.then_some(crate::app::EngineChoice::Local);
        let options = Options { engine, docker_host: None, state: None };
        let listed = async {
            let (world, _) = open_world(&options, &here).await.ok()?;
            inventory::containers(world.as_ref()).await.ok()
        };
        tokio::time::timeout(ENGINE_TIMEOUT, listed).await.ok().flatten()
    });
    runtime.shutdown_background();
    found.unwrap_or_default()
}
