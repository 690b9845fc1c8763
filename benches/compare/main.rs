//! The cost of deployer compared with the docker CLI, in the same run:
//! `cargo bench --bench compare [-- gateway|start|bluegreen|resume|interactive]`.
//!
//! `bluegreen`, `resume` and `interactive` need Docker. Rounds alternate between the two sides, so that a slower phase
//! of the machine affects both.

mod bluegreen;
mod gateway;
mod interactive;
mod resume;
mod start;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

fn main() {
    let selected: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tables: [(&str, fn()); 5] = [
        ("gateway", gateway::table),
        ("start", start::table),
        ("bluegreen", bluegreen::table),
        ("resume", resume::table),
        ("interactive", interactive::table),
    ];
    for (name, table) in tables {
        if selected.is_empty() || selected.iter().any(|choice| choice == name) {
            table();
        }
    }
}
