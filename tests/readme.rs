//! Follows the README and the chapters of the book as a reader would: on local processes, and on Docker.
//!
//! The info string of a block says what it is:
//! - `sh`: bash runs it in the folder of the tour. `exit=N` is the exit code it must have. `install` and `example` are
//!   only shown; the subcommands and options in them must exist.
//! - `text`: the output of the block before it. A line `...` stands for any lines. A `layout` is only shown.
//! - `file=NAME`: the block is that file. A `rhai` file must pass `deployer check`, unless it is a `part` of one.
//!
//! The tours of chapters start with the app of "Getting started". `SHOW_TOUR=FOLDER` writes the output to files.

#[path = "docs/block.rs"]
mod block;
#[path = "docs/current.rs"]
mod current;
#[path = "docs/likeness.rs"]
mod likeness;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/picture.rs"]
mod picture;
#[path = "support/ports.rs"]
mod ports;
#[path = "docs/tour.rs"]
mod tour;

use block::Block;
use current::package_file;
use tour::Tour;

const README: &str = "README.md";
const GETTING_STARTED: &str = "docs/src/getting-started.md";
/// The app of "Getting started".
const APP: [&str; 3] = ["app/app.py", "app/Dockerfile", "hello.toml"];

fn blocks(page: &str) -> Vec<Block> {
    block::blocks(page, &package_file(page))
}

fn follow(page: &str, tour: Tour) {
    let tour = match page {
        README | GETTING_STARTED => tour,
        _ => tour.with_files(&blocks(GETTING_STARTED), &APP),
    };
    tour.follow(&blocks(page));
}

/// One module for each page, with a test for each engine.
macro_rules! tours {
    ($($name:ident: $page:expr,)*) => {
        const TOURS: &[&str] = &[$($page),*];

        $(mod $name {
            use super::*;

            #[test]
            fn works_on_local_processes() {
                follow($page, Tour::local($page));
            }

            #[test]
            fn works_on_docker() {
                follow($page, Tour::docker($page));
            }
        })*
    };
}

tours! {
    readme: README,
    getting_started: GETTING_STARTED,
    customising: "docs/src/customising.md",
    operations: "docs/src/operations.md",
    plan_and_verify: "docs/src/plan-and-verify.md",
    traffic: "docs/src/traffic.md",
    writing_scripts: "docs/src/writing-scripts.md",
}

#[test]
fn every_page_with_commands_has_a_tour() {
    for page in pages::chapters() {
        let typed = blocks(&page).iter().any(Block::is_typed);
        assert_eq!(
            typed,
            TOURS.contains(&page.as_str()),
            "{page}: a page with commands needs a tour in tests/readme.rs"
        );
    }
}

#[test]
fn the_installation_instructions_match_the_package() {
    let manifest: toml::Table = package_file("Cargo.toml").parse().unwrap();
    let package = manifest["package"].as_table().unwrap();
    let program = package["default-run"].as_str().unwrap();
    let rust = package["rust-version"].as_str().unwrap();
    for page in [README, "README.ja.md", "docs/src/installing.md"] {
        let blocks = blocks(page);
        let install: String = blocks.iter().filter(|block| block.has("install")).map(|block| &*block.text).collect();
        assert!(install.contains("cargo build --release"), "{page}: {install}");
        assert!(install.contains(&format!("target/release/{program}")), "{page}: {install}");
        assert!(package_file(page).contains(&format!("Rust {rust}")), "{page} must say Rust {rust}");
    }
    let toolchain: toml::Table = package_file("rust-toolchain.toml").parse().unwrap();
    assert_eq!(toolchain["toolchain"]["channel"].as_str().unwrap(), format!("{rust}.0"));
}

#[test]
fn the_picture_shows_what_the_program_prints() {
    let shown = picture::lines(&package_file("docs/deploy.svg"));
    likeness::assert_like("docs/deploy.svg (docs/record writes it)", &shown, &picture::recorded());
}

/// Returns the commands and files that a reader types, in order.
fn typed(page: &str) -> Vec<String> {
    let blocks = blocks(page).into_iter();
    blocks.filter(|block| block.language == "sh" || block.value("file").is_some()).map(|block| block.text).collect()
}

/// Returns the depth of each heading of a page, in order.
fn headings(page: &str) -> Vec<usize> {
    let text = package_file(page);
    let outside_blocks = text.split("```").step_by(2).flat_map(str::lines);
    let depth = |line: &str| line.chars().take_while(|c| *c == '#').count();
    outside_blocks.map(depth).filter(|depth| *depth > 0).collect()
}

#[test]
fn the_japanese_readme_has_the_same_headings_and_commands() {
    assert_eq!(headings("README.ja.md"), headings(README), "the depths of the headings");
    let (japanese, english) = (typed("README.ja.md"), typed(README));
    for (japanese, english) in japanese.iter().zip(&english) {
        assert_eq!(japanese, english, "a command or file of README.ja.md differs from README.md");
    }
    assert_eq!(japanese.len(), english.len());
}
