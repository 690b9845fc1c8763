//! Simulated runs per second, and how long the search of `bluegreen.rhai` takes at each depth:
//! `cargo bench --bench verify [-- DEPTH]` prints a table. The rate per core uses CPU time, so that other programs on
//! the machine do not affect it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use deployer::script::program::Program;
use deployer::script::source::{SHIPPED, Source, SourceLoader};
use deployer::verify::search::{SearchLimits, search};
use deployer::verify::target::{Scenario, VerifyTarget};
use deployer::world::clock::{Clock, SystemClock};
use deployer::world::sim::InitialContainer;
use mimalloc::MiMalloc;
use serde_json::json;

/// The same allocator as in the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A loader without modules; only the included ones are available.
struct NoModules;

impl SourceLoader for NoModules {
    fn module(&self, name: &str) -> Result<String, String> {
        Err(format!("no file `{name}.rhai`"))
    }

    fn known_modules(&self) -> Vec<String> {
        Vec::new()
    }
}

fn target() -> VerifyTarget {
    let text = SHIPPED.iter().find(|(name, _)| *name == "bluegreen.rhai").unwrap().1;
    let source = Source::new("bluegreen.rhai", text);
    let loader: Arc<dyn SourceLoader> = Arc::new(NoModules);
    let declaration = Program::declaration(source.clone(), &loader).unwrap();
    let blue = json!({"name": "web", "image": "web:v1", "ports": ["8080:5000"], "restart": "unless-stopped"});
    let containers = vec![InitialContainer::new(serde_json::from_value(blue).unwrap())];
    let scenario = Scenario { containers, ..Scenario::default() };
    VerifyTarget::new(
        source,
        loader,
        &declaration,
        json!({"service": "web", "image": "web:v2", "bake": "3s"}),
        scenario,
    )
}

/// The peak memory of this process, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

/// Clock ticks per second in /proc, the same on all Linux machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The program's name is in parentheses; the user and system times are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn main() {
    let deepest = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let target = target();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("| depth | effects | runs | seconds | runs/s/core | peak MB |\n|---|---|---|---|---|---|");
    for depth in 1..=deepest {
        let limits = SearchLimits { depth, seeds: 0, first_seed: 1, seconds: None, threads };
        let (began, cpu_before) = (clock.steady_ms(), cpu_seconds());
        let found = search(&target, &limits, runtime.handle(), &clock, &AtomicBool::new(false), &|_| {});
        let found = found.unwrap_or_else(|why| panic!("{why:?}"));
        let seconds = (clock.steady_ms() - began) as f64 / 1_000.0;
        let rate = found.runs() as f64 / (cpu_seconds() - cpu_before);
        let (effects, runs, peak) = (found.effects, found.runs(), peak_mb());
        println!("| {depth} | {effects} | {runs} | {seconds:.1} | {rate:.0} | {peak} |");
    }
}
