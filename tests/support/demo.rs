//! `deployer demo` in a box of its own, and what may be left of it: nothing.

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
    /// For its temporary files.
    folder: TempDir,
}

impl Demo {
    pub fn on(engine: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let deployer = if engine == "docker" { Deployer::docker() } else { Deployer::local() };
        let deployer = deployer.env("TMPDIR", folder.path().to_str().unwrap()).env("DEPLOYER_STATE", "");
        Self { engine, deployer, folder }
    }

    pub fn command(&self, format: &str) -> Command {
        self.deployer.command(&["demo", "--engine", self.engine, "--format", format])
    }

    /// In the background, its events seen.
    pub fn start(&self) -> WatchedRun {
        WatchedRun::start(self.command("json"))
    }

    /// Asserts that no file, no process and no history of it is there.
    #[track_caller]
    pub fn left_nothing(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
        let folder = self.folder.path().to_str().unwrap();
        until("the last process", || processes(folder).is_empty().then_some(()));
        assert!(!self.deployer.home().join(".local").exists(), "nothing is added to the user's own history");
    }
}

/// Processes that have `text` in their command line or environment.
fn processes(text: &str) -> Vec<String> {
    let holds = |path: &Path| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    ids.filter(|entry| holds(&entry.path().join("cmdline")) || holds(&entry.path().join("environ")))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The runs that a demo made, by their ids.
pub fn runs(finished: &Finished) -> Vec<String> {
    let ids = finished.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["run"].as_str().unwrap().to_owned()
    });
    let mut ids: Vec<_> = ids.collect();
    ids.dedup();
    ids
}

/// Asserts that what visitors noticed is told, and that its numbers agree.
#[track_caller]
pub fn tells_its_numbers(said: &str) {
    let (_, told) = said.split_once("What the visitors noticed:").unwrap_or_else(|| panic!("no numbers in {said}"));
    let numbers = |name: &str| -> Vec<u64> {
        let line = told.lines().map(str::trim).find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no `{name}` in {told}"));
        // A version's number is part of its name.
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let (requests, failures) = (numbers("requests"), numbers("failures"));
    assert!(told.contains("by v1") && told.contains("by v2") && !told.contains("by v3"), "{told}");
    assert_eq!(requests[0], requests[1] + requests[2] + failures[0], "{told}");
    assert!(requests[1] > 0 && requests[2] > 0, "{told}");
    assert_eq!((numbers("slowest").len(), numbers("no answer").len()), (1, 1), "{told}");
}
