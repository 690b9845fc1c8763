//! Reads git repositories without the git program. Changes nothing in them.

use std::path::Path;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{Delta, DiffFindOptions, DiffOptions, ErrorCode, Repository, StatusOptions};

use crate::base::duration_text::DurationText;
use crate::effect::effect_spec::DEFAULT_DEADLINE;
use crate::effect::git::{
    Change, ChangedFile, Changes, GitChanged, Head, no_commit, repository_not_found, revision_not_found,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::cancellation::{run_blocking, with_timeout};

/// Characters of an abbreviated commit id.
pub(super) const SHORT_ID: usize = 12;

/// Reads repositories on threads of their own.
#[derive(Clone)]
pub(super) struct RepositoryReader {
    clock: Arc<dyn Clock>,
}

impl RepositoryReader {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// Returns the checked-out commit.
    pub(super) async fn head(&self, call: &Call, repo: &str) -> Result<Head, EffectError> {
        let repo = repo.to_owned();
        self.read(call, move |_| head(&repo)).await
    }

    /// Returns the files that differ between two commits.
    pub(super) async fn changed(&self, call: &Call, request: &GitChanged) -> Result<Changes, EffectError> {
        let request = request.clone();
        self.read(call, move |stop| changed(&request, stop)).await
    }

    /// Runs reading work on a thread of its own. When the future is dropped, the flag tells the work to stop.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&AtomicBool) -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let stop = StopOnDrop::default();
        let flag = Arc::clone(&stop.0);
        let timed_out = || EffectError::timed_out(&"reading the repository", DurationText(DEFAULT_DEADLINE));
        with_timeout(call, self.clock.as_ref(), DEFAULT_DEADLINE, timed_out, run_blocking(move || work(&flag))).await
    }
}

/// Sets its flag when it is dropped.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Opens the repository that a folder belongs to.
pub(super) fn open(folder: &str) -> Result<Repository, EffectError> {
    static CONFIGURED: Once = Once::new();
    // Verifying the hash of each object costs more than reading it. `git fsck` finds damaged disks.
    CONFIGURED.call_once(|| git2::opts::strict_hash_verification(false));
    if !Path::new(folder).is_dir() {
        return Err(EffectError::new(ErrorKind::NotFound, format!("`{folder}` is not a folder")).not_applied());
    }
    Repository::discover(folder).map_err(|error| open_failed(folder, &error).not_applied())
}

fn open_failed(folder: &str, error: &git2::Error) -> EffectError {
    match error.code() {
        ErrorCode::NotFound => repository_not_found(folder),
        ErrorCode::Owner => {
            let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
            EffectError::new(
                ErrorKind::Refused,
                format!("git does not trust the repository at `{folder}`: it belongs to another user"),
            )
            .hint(format!("git config --global --add safe.directory {}", absolute.display()))
        }
        _ => read_failed(folder, error),
    }
}

/// The error of reading a repository.
pub(super) fn read_failed(folder: &str, error: &git2::Error) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("cannot read the repository at `{folder}`: {}", error.message()))
}

fn commit<'r>(repo: &'r Repository, folder: &str, revision: &str) -> Result<git2::Commit<'r>, EffectError> {
    repo.revparse_single(revision).and_then(|object| object.peel_to_commit()).map_err(|error| match error.code() {
        ErrorCode::InvalidSpec | ErrorCode::Ambiguous | ErrorCode::Peel => {
            EffectError::new(ErrorKind::Invalid, format!("`{revision}` does not name one commit: {}", error.message()))
        }
        _ => {
            let error = revision_not_found(revision, folder);
            if repo.is_shallow() {
                error.hint(format!("the clone is shallow: git -C {folder} fetch --unshallow"))
            } else {
                error
            }
        }
    })
}

fn changed(request: &GitChanged, stop: &AtomicBool) -> Result<Changes, EffectError> {
    let folder = request.repo.as_str();
    let repo = open(folder)?;
    let (from, to) = (commit(&repo, folder, &request.from)?, commit(&repo, folder, &request.to)?);
    let files = files_between(&repo, &from, &to, stop).map_err(|error| read_failed(folder, &error))?;
    let mut paths: Vec<String> =
        files.iter().flat_map(|file| file.old_path.iter().chain([&file.path]).cloned()).collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(Changes { from: from.id().to_string(), to: to.id().to_string(), files, paths })
}

fn files_between(
    repo: &Repository,
    from: &git2::Commit<'_>,
    to: &git2::Commit<'_>,
    stop: &AtomicBool,
) -> Result<Vec<ChangedFile>, git2::Error> {
    let mut options = DiffOptions::new();
    options.include_typechange(true);
    let mut diff = repo.diff_tree_to_tree(Some(&from.tree()?), Some(&to.tree()?), Some(&mut options))?;
    // Detecting renames takes longest: skip it when the caller has gone.
    if !stop.load(Ordering::Relaxed) {
        diff.find_similar(Some(DiffFindOptions::new().renames(true)))?;
    }
    Ok(diff.deltas().filter_map(|delta| changed_file(&delta)).collect())
}

fn changed_file(delta: &git2::DiffDelta<'_>) -> Option<ChangedFile> {
    let (old, new) = (path_of(&delta.old_file()), path_of(&delta.new_file()));
    let (path, old_path, change) = match delta.status() {
        Delta::Added => (new, None, Change::Added),
        Delta::Deleted => (old, None, Change::Deleted),
        Delta::Modified => (new, None, Change::Modified),
        Delta::Renamed => (new, old, Change::Renamed),
        Delta::Copied => (new, old, Change::Copied),
        Delta::Typechange => (new, None, Change::Retyped),
        Delta::Unmodified | Delta::Ignored | Delta::Untracked | Delta::Unreadable | Delta::Conflicted => return None,
    };
    Some(ChangedFile { path: path?, old_path, change })
}

fn path_of(file: &git2::DiffFile<'_>) -> Option<String> {
    file.path_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn head(folder: &str) -> Result<Head, EffectError> {
    let repo = open(folder)?;
    let reference = repo.head().map_err(|error| match error.code() {
        ErrorCode::UnbornBranch | ErrorCode::NotFound => no_commit(folder),
        _ => read_failed(folder, &error),
    })?;
    let read = || -> Result<Head, git2::Error> {
        let commit = reference.peel_to_commit()?;
        let id = commit.id().to_string();
        let branch = reference.is_branch().then(|| String::from_utf8_lossy(reference.shorthand_bytes()).into_owned());
        Ok(Head {
            short: id.chars().take(SHORT_ID).collect(),
            commit: id,
            branch,
            message: commit.summary_bytes().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default(),
            time: commit.time().seconds(),
            dirty: is_dirty(&repo)?,
        })
    };
    read().map_err(|error| read_failed(folder, &error))
}

fn is_dirty(repo: &Repository) -> Result<bool, git2::Error> {
    if repo.is_bare() {
        return Ok(false);
    }
    let mut options = StatusOptions::new();
    options.include_untracked(false).include_ignored(false);
    Ok(!repo.statuses(Some(&mut options))?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_for_another_users_repository_is_the_command_that_trusts_it() {
        let refused = git2::Error::new(ErrorCode::Owner, git2::ErrorClass::Config, "not owned by current user");
        let error = open_failed("/srv/app", &refused);
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.hint.as_deref(), Some("git config --global --add safe.directory /srv/app"));
    }
}
