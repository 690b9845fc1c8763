//! `deployer demo`: it shows what visitors notice, and leaves nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::deadline::until;
use crate::support::deployer::Deployer;

/// Processes that have `text` in their command line or environment.
fn processes(text: &str) -> Vec<String> {
    let holds = |path: &Path| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    ids.filter(|entry| holds(&entry.path().join("cmdline")) || holds(&entry.path().join("environ")))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

struct Demo {
    deployer: Deployer,
    folder: tempfile::TempDir,
}

impl Demo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            deployer: Deployer::local().env("TMPDIR", folder.path().to_str().unwrap()).env("DEPLOYER_STATE", ""),
            folder,
        }
    }

    #[track_caller]
    fn left_nothing(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
        let folder = self.folder.path().to_str().unwrap();
        until("the last process", Duration::from_secs(10), || processes(folder).is_empty().then_some(()));
        assert!(!self.deployer.home().join(".local").exists(), "nothing is added to the user's own history");
    }
}

#[test]
fn it_shows_what_visitors_notice_and_leaves_nothing() {
    let demo = Demo::new();
    let done = demo.deployer.call(&["demo", "--engine", "local"]).ok();
    let done = done.says("requests").says("failures").says("slowest").says("by v1").says("by v2");
    assert!(!done.said().contains("by v3"), "{}", done.said());
    demo.left_nothing();
}

#[test]
fn interrupted_anywhere_it_leaves_nothing() {
    for (moment, signal) in [("\"docker_build\"", Signal::SIGINT), ("Watch the public port", Signal::SIGTERM)] {
        let demo = Demo::new();
        let command = demo.deployer.command(&["demo", "--engine", "local", "--format", "json"]);
        let mut run = crate::support::watched_run::WatchedRun::start(command);
        run.until(moment, |event| event.to_string().contains(moment));
        run.signal(signal);
        run.wait().code(130).says("the demo was cancelled");
        demo.left_nothing();
    }
}
