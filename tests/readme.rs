//! Runs the README: its tour from top to bottom, once on processes of this machine and once on Docker, as a reader
//! would; its installation is held against Cargo.toml.
//!
//! What a block's info string says:
//! - `sh`: run by bash in the tour's folder; `exit=N` is the code that it must end with, `install` is only read;
//! - `text`: what the block before it prints, where a line `...` stands for any lines; a `layout` is only read;
//! - `file=NAME`: the block is that file; a `rhai` one must pass `deployer check` unless it is a `part` of one.
//!
//! `SHOW_TOUR=FOLDER` keeps what was printed there, for whoever writes the README.

#[path = "docs/block.rs"]
mod block;
#[path = "docs/current.rs"]
mod current;
#[path = "docs/likeness.rs"]
mod likeness;
#[path = "support/ports.rs"]
mod ports;
#[path = "docs/tour.rs"]
mod tour;

use block::blocks;
use tour::Tour;

#[test]
fn the_tour_works_on_processes() {
    Tour::local().walk(&blocks(&current::package_file("README.md")));
}

#[test]
fn the_tour_works_on_docker() {
    Tour::docker().walk(&blocks(&current::package_file("README.md")));
}

#[test]
fn the_installation_is_the_one_of_this_package() {
    let blocks = blocks(&current::package_file("README.md"));
    let install: String = blocks.iter().filter(|block| block.has("install")).map(|block| block.text.as_str()).collect();
    let manifest: toml::Table = current::package_file("Cargo.toml").parse().unwrap();
    let package = manifest["package"].as_table().unwrap();
    let program = package["default-run"].as_str().unwrap();
    assert!(install.contains("cargo build --release"), "{install}");
    assert!(install.contains(&format!("target/release/{program}")), "{install}");
    let rust = package["rust-version"].as_str().unwrap();
    assert!(current::package_file("README.md").contains(&format!("Rust {rust}")), "the README must say Rust {rust}");
}

/// What a reader types and writes, in order.
fn typed(name: &str) -> Vec<(String, String)> {
    let blocks = blocks(&current::package_file(name));
    let typed = blocks.iter().filter(|block| block.language == "sh" || block.value("file").is_some());
    typed.map(|block| (block.language.clone(), block.text.clone())).collect()
}

/// How deep each heading is, in order; what is in blocks is none.
fn headings(name: &str) -> Vec<usize> {
    let text = current::package_file(name);
    let outside = text.split("```").step_by(2).flat_map(str::lines);
    let depth = |line: &str| line.chars().take_while(|c| *c == '#').count();
    outside.map(depth).filter(|depth| *depth > 0).collect()
}

#[test]
fn the_japanese_readme_keeps_step() {
    assert_eq!(headings("README.ja.md"), headings("README.md"), "the headings, by their depth");
    let (here, there) = (typed("README.ja.md"), typed("README.md"));
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here.1, there.1, "a command or file of README.ja.md is another than README.md's");
    }
    assert_eq!(here.len(), there.len());
}
