//! `deployer demo` in its own environment, and checks that it leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::deployer::{Deployer, Finished};
use super::until;
use super::watched_run::WatchedRun;

pub struct Demo {
    engine: &'static str,
    deployer: Deployer,
    /// Holds its temporary files.
    folder: TempDir,
}

impl Demo {
    pub fn new(engine: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let deployer = if engine == "docker" { Deployer::docker() } else { Deployer::local() };
        let deployer = deployer.env("TMPDIR", folder.path().to_str().unwrap()).env("DEPLOYER_STATE", "");
        Self { engine, deployer, folder }
    }

    pub fn command(&self, format: &str) -> Command {
        self.deployer.command(&["demo", "--engine", self.engine, "--format", format])
    }

    /// Starts the demo in the background, with its events as JSON.
    pub fn start(&self) -> WatchedRun {
        WatchedRun::start(self.command("json"))
    }

    /// Asserts that the demo left no file, no process and no run history.
    #[track_caller]
    pub fn assert_left_nothing(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
        let folder = self.folder.path().to_str().unwrap();
        until("the end of the last process", || processes(folder).is_empty().then_some(()));
        assert!(!self.deployer.home().join(".local").exists(), "the demo adds no runs to the user's history");
    }
}

/// Lists the processes that have `text` in their command line or environment.
fn processes(text: &str) -> Vec<String> {
    let contains = |path: &Path| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    ids.filter(|entry| contains(&entry.path().join("cmdline")) || contains(&entry.path().join("environ")))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Returns the run ids of a demo.
pub fn run_ids(finished: &Finished) -> Vec<String> {
    let ids = finished.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["run"].as_str().unwrap().to_owned()
    });
    let mut ids: Vec<_> = ids.collect();
    ids.dedup();
    ids
}

/// Asserts that the output has the results of the load generator, and that they add up.
#[track_caller]
pub fn assert_load_results(output: &str) {
    let (_, results) =
        output.split_once("Results of the load generator:").unwrap_or_else(|| panic!("no results in {output}"));
    let numbers = |name: &str| -> Vec<u64> {
        let line = results.lines().map(str::trim).find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no `{name}` in {results}"));
        // Skips the numbers in names of versions.
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let (requests, failures) = (numbers("requests"), numbers("failures"));
    assert!(results.contains("by v1") && results.contains("by v2") && !results.contains("by v3"), "{results}");
    assert_eq!(requests[0], requests[1] + requests[2] + failures[0], "{results}");
    assert!(requests[1] > 0 && requests[2] > 0, "{results}");
    assert_eq!((numbers("slowest").len(), numbers("no answer").len()), (1, 1), "{results}");
}
