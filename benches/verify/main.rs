//! Simulated runs a second, and how long the search of `bluegreen.rhai` takes at each depth. By hand:
//! `cargo bench --bench verify [-- DEPTH]`; prints a table. The rate of a core is by the processor's time, so that what
//! else runs on the machine does not count.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use deployer::script::program::Program;
use deployer::script::source::{SHIPPED, Source, SourceLoader};
use deployer::verify::search::{Reach, search};
use deployer::verify::subject::{Scenario, Subject};
use deployer::world::clock::{Clock, SystemClock};
use deployer::world::sim::Placed;
use mimalloc::MiMalloc;
use serde_json::json;

/// As in the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// No modules but those that come along.
struct NoModules;

impl SourceLoader for NoModules {
    fn module(&self, name: &str) -> Result<String, String> {
        Err(format!("no file `{name}.rhai`"))
    }

    fn known_modules(&self) -> Vec<String> {
        Vec::new()
    }
}

fn subject() -> Subject {
    let text = SHIPPED.iter().find(|(name, _)| *name == "bluegreen.rhai").unwrap().1;
    let source = Source::new("bluegreen.rhai", text);
    let loader: Arc<dyn SourceLoader> = Arc::new(NoModules);
    let declaration = Program::declaration(source.clone(), &loader).unwrap();
    let blue = json!({"name": "web", "image": "web:v1", "ports": ["8080:5000"], "restart": "unless-stopped"});
    let containers = vec![Placed::new(serde_json::from_value(blue).unwrap())];
    let scenario = Scenario { containers, ..Scenario::default() };
    Subject::new(source, loader, &declaration, json!({"service": "web", "image": "web:v2", "bake": "3s"}), scenario)
}

/// The most memory that this process has had, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

/// A tick of the processor's time in /proc; the same on all Linux machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of the processor's time that this process has had so far.
fn busy_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The program's name stands in parentheses; of itself and of the system are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn main() {
    let deepest = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let subject = subject();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("| depth | effects | runs | seconds | runs/s/core | peak MB |\n|---|---|---|---|---|---|");
    for depth in 1..=deepest {
        let reach = Reach { depth, seeds: 0, first_seed: 1, seconds: None, threads };
        let (began, was_busy) = (clock.steady_ms(), busy_s());
        let found = search(&subject, &reach, runtime.handle(), &clock, &AtomicBool::new(false), &|_| {});
        let found = found.unwrap_or_else(|why| panic!("{why:?}"));
        let seconds = (clock.steady_ms() - began) as f64 / 1_000.0;
        let rate = found.runs() as f64 / (busy_s() - was_busy);
        let (effects, runs, peak) = (found.effects, found.runs(), peak_mb());
        println!("| {depth} | {effects} | {runs} | {seconds:.1} | {rate:.0} | {peak} |");
    }
}
