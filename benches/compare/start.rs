//! How long the program takes to start: to print its version, and to run an empty script.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::deployer::Deployer;
use crate::table::{Table, median, percentile};

const ROUNDS: usize = 20;

fn timed(body: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    body();
    begin.elapsed()
}

fn spawned(program: &str, args: &[&str]) -> Duration {
    timed(|| assert!(Command::new(program).args(args).output().expect("it starts").status.success()))
}

pub fn table() {
    let deployer = Deployer::local();
    let script = deployer.file("empty.rhai", "");
    let binary = env!("CARGO_BIN_EXE_deployer");
    let state = deployer.state().to_str().expect("a plain path").to_owned();
    let empty = ["run", &script, "--engine", "local", "--state", &state];
    let sides: [(&str, &str, &[&str]); 3] = [
        ("docker --version", "docker", &["--version"]),
        ("deployer --version", binary, &["--version"]),
        ("deployer run empty.rhai, local", binary, &empty),
    ];
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, program, args), times) in sides.iter().zip(&mut times) {
            times.push(spawned(program, args));
        }
    }
    let mut table = Table::new("start-up", &["median", "slowest", "of docker's"]);
    let base = median(&times[0]);
    for ((name, ..), times) in sides.iter().zip(&mut times) {
        times.sort();
        let ratio = median(times).as_secs_f64() / base.as_secs_f64();
        let cells = [median(times), percentile(times, 100)].map(|time| format!("{time:.1?}"));
        table.row(name, &[cells[0].clone(), cells[1].clone(), format!("{ratio:.2}")]);
    }
    table.print();
}
