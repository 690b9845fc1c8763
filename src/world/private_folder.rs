//! Temporary folders that only this user can read. Those of a process that was killed are found by their names and removed
//! by the next one.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use super::process_identity::ProcessIdentity;

/// The beginning of all names.
const PREFIX: &str = "deployer-tmp-";
/// How many entries of the folder for temporary files are looked at.
const MOST_ENTRIES: usize = 100_000;

/// Creates a folder that is removed when the value is dropped.
///
/// # Errors
/// Fails if the machine's folder for temporary files cannot be written to.
pub(crate) fn create() -> io::Result<TempDir> {
    create_in(&std::env::temp_dir(), &owner(&ProcessIdentity::this_process()?))
}

fn create_in(parent: &Path, owner: &str) -> io::Result<TempDir> {
    let private = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(&format!("{PREFIX}{owner}-")).permissions(private).tempdir_in(parent)
}

/// Removes the folders of processes that no longer exist. What cannot be removed stays.
pub fn remove_abandoned() {
    if let Ok(here) = ProcessIdentity::this_process() {
        remove_abandoned_in(&std::env::temp_dir(), &here);
    }
}

fn remove_abandoned_in(parent: &Path, here: &ProcessIdentity) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().take(MOST_ENTRIES) {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let own = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw());
        if own && is_abandoned(owner, here) {
            // Another process may be removing it, too.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Names a process: its PID namespace, its id and when it started.
fn owner(process: &ProcessIdentity) -> String {
    format!("{}-{}-{}", namespace(process), process.pid, process.process_start)
}

fn namespace(process: &ProcessIdentity) -> String {
    process.pid_namespace.chars().filter(char::is_ascii_digit).collect()
}

/// Returns whether the process in a name has certainly ended. Processes in other PID namespaces cannot be seen.
fn is_abandoned(name: &str, here: &ProcessIdentity) -> bool {
    let mut parts = name.split('-');
    let (Some(namespace_of), Some(pid), Some(start)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let (Ok(pid), Ok(process_start)) = (pid.parse(), start.parse()) else { return false };
    namespace_of == namespace(here) && ProcessIdentity { pid, process_start, ..here.clone() }.is_provably_dead(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_processes_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let here = ProcessIdentity::this_process().unwrap();
        let own = create_in(parent.path(), &owner(&here)).unwrap();
        assert_eq!(own.path().metadata().unwrap().mode() & 0o777, 0o700);
        let dead = ProcessIdentity { pid: u32::MAX, ..here.clone() };
        let abandoned = create_in(parent.path(), &owner(&dead)).unwrap().keep();
        fs::write(abandoned.join("app.db"), "rows").unwrap();
        let elsewhere = ProcessIdentity { pid_namespace: "pid:[1]".into(), ..dead };
        let unknown = create_in(parent.path(), &owner(&elsewhere)).unwrap().keep();
        let foreign = parent.path().join("deployer-tmp-notes");
        fs::create_dir(&foreign).unwrap();
        remove_abandoned_in(parent.path(), &here);
        assert!(own.path().exists() && unknown.exists() && foreign.exists());
        assert!(!abandoned.exists());
    }
}
