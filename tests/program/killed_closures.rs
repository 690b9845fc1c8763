//! Closures of `on_rollback` in branches of `parallel` on local processes, under SIGKILL: the run is killed at some entry,
//! and every other time its abort too. Each closure appends a line to a file: none may be missing, none there twice.
//! `DEPLOYER_SWEEP=all cargo test --test program killed_closures` makes 500 trials, otherwise it is a sample.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::deployer::Deployer;
use crate::support::watched_run::WatchedRun;

const SCRIPT: &str = r#"
    let p = params(#{ file: required("string", "the file of the lines") });
    fn change(file, name) {
        on_rollback(|| exec(["sh", "-c", `echo ${name} >> ${file}`]));
        sleep("2ms");
    }
    parallel([
        || { for i in range(0, 8) { change(p.file, `a${i}`); } },
        || { for i in range(0, 5) { step `part ${i}` { change(p.file, `b${i}`); sleep("1ms"); } } },
        || { parallel([|| change(p.file, "c0"), || { sleep("5ms"); change(p.file, "c1"); }]); change(p.file, "c2"); },
    ]);
    change(p.file, "end");
"#;

/// More than the entries of the script that follow its start.
const ENTRIES: u64 = 80;

struct Trial {
    deployer: Deployer,
    lines: PathBuf,
}

impl Trial {
    fn new() -> Self {
        let deployer = Deployer::local();
        deployer.file("killed.rhai", SCRIPT);
        let lines = deployer.home().join("lines");
        Self { deployer, lines }
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.lines).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Runs a command until it stops at this entry, and kills it. Returns whether it came so far.
    fn kill_at(&self, args: &[&str], at: &str) -> bool {
        let mut run = WatchedRun::start(self.deployer.crashing_command(args, at));
        let stopped = run.until_stopped();
        if stopped {
            run.kill();
        } else {
            run.wait();
        }
        stopped
    }

    fn has_ended(&self) -> bool {
        self.deployer.latest_run().last().is_some_and(|record| record["entry"] == "run_ended")
    }

    /// Aborts the run. Answers from the file whether an interrupted program was run.
    fn abort(&self) {
        let mut args = vec!["abort".to_owned()];
        for (seq, command) in self.interrupted() {
            let was_run = self.lines().iter().any(|line| command.contains(&format!("echo {line} >>")));
            args.extend([if was_run { "--skip-step" } else { "--redo-step" }.to_owned(), seq]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.deployer.call(&args).ok();
    }

    /// Returns the programs of closures whose outcome is not in the journal, by position.
    fn interrupted(&self) -> BTreeMap<String, String> {
        let mut open = BTreeMap::new();
        for record in self.deployer.latest_run() {
            match record["entry"].as_str() {
                Some("intended") if record["intent"]["kind"] == "exec" => {
                    let seq = record["intent"]["seq"].as_str().unwrap_or_default();
                    open.insert(seq.to_owned(), record["intent"]["args"].to_string());
                }
                Some("completed" | "failed") => {
                    open.remove(record["seq"].as_str().unwrap_or_default());
                }
                _ => {}
            }
        }
        open
    }

    #[track_caller]
    fn assert_every_closure_was_called_once(&self, context: &str) {
        let records = self.deployer.latest_run();
        let positions = |entry: &str| -> Vec<String> {
            let these = records.iter().filter(|record| record["entry"] == entry);
            these.filter_map(|record: &Value| record["seq"].as_str().map(str::to_owned)).collect()
        };
        let (mut registered, mut called) = (positions("rollback_registered"), positions("rollback_called"));
        registered.sort();
        called.sort();
        assert_eq!(registered, called, "{context}");
        let lines = self.lines();
        let different: BTreeSet<&String> = lines.iter().collect();
        assert_eq!((lines.len(), different.len()), (registered.len(), registered.len()), "{context}: {lines:?}");
    }
}

#[test]
fn none_is_lost_and_none_is_called_twice() {
    let all = std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all");
    let trials = if all { 500 } else { 20 };
    let (mut killed, mut killed_again) = (0, 0);
    for number in 0..trials {
        let trial = Trial::new();
        let file = format!("file={}", trial.lines.display());
        // 31 and 80 have no common divisor: the trials are spread over all entries.
        let first = 3 + number * 31 % ENTRIES;
        let args = ["run", "killed.rhai", "--engine", "local", "--set", &file];
        // Where the run ends before this entry or at it, no closure is due.
        if !trial.kill_at(&args, &format!("after:{first}")) || trial.has_ended() {
            continue;
        }
        killed += 1;
        let second = 2 + number * 7 % 50;
        let side = if number % 4 == 1 { "before" } else { "after" };
        if number % 2 == 1 && trial.kill_at(&["abort"], &format!("{side}:{second}")) {
            killed_again += 1;
        }
        if !trial.has_ended() {
            trial.abort();
        }
        let context = format!("trial {number}: killed after {first}, its abort {side} {second}");
        trial.assert_every_closure_was_called_once(&context);
    }
    assert!(killed > trials / 2 && killed_again > 2, "only {killed} and {killed_again}");
}
