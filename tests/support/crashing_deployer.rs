//! The test program `crashing_deployer`: `deployer` that stops at a given journal entry.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The environment variable with the crash point, such as `before:12` or `after:12`.
pub const CRASH_AT: &str = "DEPLOYER_CRASH_AT";

/// Builds the program, because `cargo test --test NAME` builds no examples, and returns its path.
pub fn crashing_deployer() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_deployer")).parent().unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            profile => profile,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "crashing_deployer", "--profile", profile, "--target-dir"]);
        build.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "cannot build `crashing_deployer`");
        folder.join("examples/crashing_deployer")
    })
}
