//! The example apps of the two guides: as Docker images, and as folders that the local engine builds.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::docker::Docker;
use super::git_repo::copy_folder;

/// Returns the path of a folder in `examples/`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Builds the image of the manual generator with this version as its tag.
pub fn manual_image(docker: &Docker, version: &str) -> String {
    docker.build(&example("manual-generator"), "manual", version)
}

/// Copies the manual generator into a folder that the local engine can build. It uses Python from the host.
pub fn local_manual(version: &str, environment: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&example("manual-generator"), folder.path());
    let dockerfile = format!(
        "FROM scratch\nWORKDIR /app\nCOPY . .\nENV APP_VERSION={version} {environment}\nEXPOSE 5000\nCMD [\"python3\", \"app.py\"]\n"
    );
    fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    folder
}
