//! How long a resume takes until its first new effect, after a run with many entries.

use std::time::{Duration, Instant};

use crate::support::deployer::Deployer;
use crate::support::watched_run::WatchedRun;
use crate::table::{Table, median};

/// Effects before the run is killed. The journal then has one entry for the start, and two for each effect.
const EFFECTS: usize = 5_000;
const ROUNDS: usize = 3;

/// The time from the start of the process to the first event that matches.
fn until_first(deployer: &Deployer, args: &[&str], matches: impl Fn(&serde_json::Value) -> bool) -> Duration {
    let begin = Instant::now();
    let mut run = WatchedRun::start(deployer.command(args));
    run.until("the first new effect", matches);
    let took = begin.elapsed();
    run.wait();
    took
}

pub fn table() {
    let title = format!("first new effect of a resume, {} entries in the journal", 2 * EFFECTS + 1);
    let mut table = Table::new(&title, &["median", "ratio"]);
    let (mut first, mut resumed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let deployer = Deployer::local();
        let text = format!("for n in 0..{EFFECTS} {{ volume_create(\"data\"); }}\nvolume_create(\"last\");\n");
        let script = deployer.file("many.rhai", &text);
        let args = ["run", &script, "--engine", "local", "--format", "json"];
        first.push(until_first(&Deployer::local(), &args, |event| event["entry"] == "intended"));
        let at = format!("after:{}", 2 * EFFECTS + 1);
        let mut run = WatchedRun::start(deployer.crashing_command(&args, &at));
        assert!(run.until_stopped(), "the run must be stopped");
        run.kill();
        resumed.push(until_first(&deployer, &["resume", "--format", "json"], |event| {
            event["entry"] == "intended" && event["intent"]["subject"] == "last"
        }));
    }
    let base = median(&first);
    for (name, times) in [("first effect of a new run", &first), ("first new effect of a resume", &resumed)] {
        let time = median(times);
        table.row(name, &[format!("{time:.1?}"), format!("{:.2}", time.as_secs_f64() / base.as_secs_f64())]);
    }
    table.print();
}
