//! The embedded proxy against nginx, HAProxy and Caddy, in front of the same target: `cargo bench --bench proxy`.
//!
//! Needs nginx and wrk; haproxy and caddy have no row if they are missing. Rounds alternate between the proxies, so
//! that a slower phase of the machine affects all. All run on loopback with two threads each. A second table has the
//! cutovers behind each proxy, with the configuration of `examples/`.

mod contender;
mod cutover;
#[path = "../../tests/support/deadline.rs"]
mod deadline;
#[path = "../../tests/support/fake_engine.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod fake_engine;
#[path = "../../tests/support/ports.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod ports;
#[path = "../../tests/support/route_program.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod program;
#[path = "../compare/table.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod table;
mod wrk;

use contender::Contender;
use table::Table;
use wrk::Figures;

const ROUNDS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
    let target = contender::target(folder.path());
    let contenders: Vec<Contender> = contender::all(folder.path()).into_iter().flatten().collect();
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); contenders.len() + 1];
    for _ in 0..ROUNDS {
        let addresses = std::iter::once(&target).chain(&contenders);
        for (figures, contender) in rounds.iter_mut().zip(addresses) {
            figures.push(wrk::run(contender.port));
        }
    }
    let mut table = Table::new("64 kept connections", &["requests/s", "of direct", "p50", "p99", "errors", "memory"]);
    let direct = middle(&rounds[0], |figures| figures.rate);
    for (figures, contender) in rounds.iter().zip(std::iter::once(&target).chain(&contenders)) {
        let rate = middle(figures, |figures| figures.rate);
        table.row(
            contender.name,
            &[
                format!("{rate:.0}"),
                format!("{:.2}", rate / direct),
                format!("{:.2} ms", middle(figures, |figures| figures.p50_ms)),
                format!("{:.2} ms", middle(figures, |figures| figures.p99_ms)),
                figures.iter().map(|figures| figures.errors).sum::<u64>().to_string(),
                contender.memory(),
            ],
        );
    }
    table.print();
    drop(contenders);
    cutover::table(folder.path());
}

fn middle(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    let mut all: Vec<f64> = figures.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
