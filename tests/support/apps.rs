//! The two guides' apps, as images of Docker and as folders that the local engine builds.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::docker::Docker;
use super::git_repo::copy;

/// A folder of `examples/`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The manual generator's image `VERSION`.
pub fn manual(docker: &Docker, version: &str) -> String {
    docker.build(&example("manual-generator"), "manual", version)
}

/// A copy of the manual generator that the local engine can build: by the host's own Python.
pub fn local_manual(version: &str, environment: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&example("manual-generator"), folder.path());
    let dockerfile = format!(
        "FROM scratch\nWORKDIR /app\nCOPY . .\nENV APP_VERSION={version} {environment}\nEXPOSE 5000\nCMD [\"python3\", \"app.py\"]\n"
    );
    fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    folder
}
