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
