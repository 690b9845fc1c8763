//! What deployer costs, against the docker CLI in the same run: `cargo bench --bench compare [-- door|start|bluegreen|resume|keyboard]`.
//!
//! Needs Docker for `bluegreen`, `resume` and `keyboard`. Rounds alternate between the two sides, so that a machine that gets slower in the
//! middle gets slower for both.

mod bluegreen;
mod door;
mod keyboard;
mod resume;
mod start;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tables: [(&str, fn()); 5] = [
        ("door", door::table),
        ("start", start::table),
        ("bluegreen", bluegreen::table),
        ("resume", resume::table),
        ("keyboard", keyboard::table),
    ];
    for (name, table) in tables {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            table();
        }
    }
}
