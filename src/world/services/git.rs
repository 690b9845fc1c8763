//! `git_changed` and `git_head`, read without the git program. Changes nothing in the repository.

use std::path::Path;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{Delta, DiffFindOptions, DiffOptions, ErrorCode, Repository, StatusOptions};

use super::Services;
use super::wait::{lost_thread, within};
use crate::effect::facts::PATIENCE;
use crate::effect::git::{Change, ChangedFile, Changes, GitChanged, GitEffect, GitOutcome, Head};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Letters of a commit that people are shown.
const SHORT: usize = 12;

impl Services {
    pub(super) async fn git(&self, call: &Call, effect: &GitEffect) -> Result<GitOutcome, EffectError> {
        match effect {
            GitEffect::Changed(request) => {
                let request = request.clone();
                self.reading_git(call, move |stop| changed(&request, stop)).await.map(GitOutcome::Changed)
            }
            GitEffect::Head(request) => match self.git_head(call, &request.repo).await {
                Err(error) if request.missing_ok && error.kind == ErrorKind::NotFound => Ok(GitOutcome::Head(None)),
                found => found.map(Some).map(GitOutcome::Head),
            },
            GitEffect::Pull(request) => self.git_pull(call, request).await.map(GitOutcome::Pull),
        }
    }

    pub(super) async fn git_head(&self, call: &Call, repo: &str) -> Result<Head, EffectError> {
        let repo = repo.to_owned();
        self.reading_git(call, move |_| head(&repo)).await
    }

    /// Runs reading work on a thread of its own and tells it to stop when nobody waits for it any more.
    pub(super) async fn reading_git<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&AtomicBool) -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let stop = StopOnDrop::default();
        let flag = Arc::clone(&stop.0);
        let thread = tokio::task::spawn_blocking(move || work(&flag));
        let late = || EffectError::new(ErrorKind::Timeout, "reading the repository took longer than a minute");
        within(call, self.clock.as_ref(), PATIENCE, late, async {
            thread.await.unwrap_or_else(|error| Err(lost_thread(&error)))
        })
        .await
    }
}

#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The repository that a folder belongs to.
pub(super) fn open(folder: &str) -> Result<Repository, EffectError> {
    static TUNED: Once = Once::new();
    // Hashing every object again costs more than reading it; `git fsck` is for damaged disks.
    TUNED.call_once(|| git2::opts::strict_hash_verification(false));
    if !Path::new(folder).is_dir() {
        return Err(EffectError::new(ErrorKind::NotFound, format!("`{folder}` is not a folder")).not_applied());
    }
    Repository::discover(folder).map_err(|error| not_opened(folder, &error).not_applied())
}

fn not_opened(folder: &str, error: &git2::Error) -> EffectError {
    match error.code() {
        ErrorCode::NotFound => {
            EffectError::new(ErrorKind::NotFound, format!("folder `{folder}` is not in a git repository"))
                .hint("give the folder of a clone as `repo`")
        }
        ErrorCode::Owner => {
            let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
            EffectError::new(
                ErrorKind::Refused,
                format!("git does not trust the repository at `{folder}`: it belongs to another user"),
            )
            .hint(format!("git config --global --add safe.directory {}", whole.display()))
        }
        _ => failed(folder, error),
    }
}

pub(super) fn failed(folder: &str, error: &git2::Error) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("the repository at `{folder}` cannot be read: {}", error.message()))
}

fn commit<'r>(repo: &'r Repository, folder: &str, revision: &str) -> Result<git2::Commit<'r>, EffectError> {
    repo.revparse_single(revision).and_then(|object| object.peel_to_commit()).map_err(|error| match error.code() {
        ErrorCode::InvalidSpec | ErrorCode::Ambiguous | ErrorCode::Peel => {
            EffectError::new(ErrorKind::Invalid, format!("`{revision}` does not name one commit: {}", error.message()))
        }
        _ => {
            let hint = if repo.is_shallow() {
                format!("the clone is shallow: git -C {folder} fetch --unshallow")
            } else {
                format!("git -C {folder} fetch --tags, then git -C {folder} log {revision}")
            };
            EffectError::new(ErrorKind::NotFound, format!("there is no revision `{revision}` in `{folder}`")).hint(hint)
        }
    })
}

fn changed(request: &GitChanged, stop: &AtomicBool) -> Result<Changes, EffectError> {
    let folder = request.repo.as_str();
    let repo = open(folder)?;
    let (from, to) = (commit(&repo, folder, &request.from)?, commit(&repo, folder, &request.to)?);
    let files = files_between(&repo, &from, &to, stop).map_err(|error| failed(folder, &error))?;
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
    // Comparing contents is the long part: not begun when nobody waits for it any more.
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
        ErrorCode::UnbornBranch | ErrorCode::NotFound => {
            EffectError::new(ErrorKind::NotFound, format!("the repository at `{folder}` has no commit yet"))
        }
        _ => failed(folder, &error),
    })?;
    let read = || -> Result<Head, git2::Error> {
        let commit = reference.peel_to_commit()?;
        let name = commit.id().to_string();
        let branch = reference.is_branch().then(|| String::from_utf8_lossy(reference.shorthand_bytes()).into_owned());
        Ok(Head {
            short: name.chars().take(SHORT).collect(),
            commit: name,
            branch,
            message: commit.summary_bytes().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default(),
            time: commit.time().seconds(),
            dirty: is_dirty(&repo)?,
        })
    };
    read().map_err(|error| failed(folder, &error))
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
    fn another_users_repository_comes_with_the_command_that_trusts_it() {
        let refused = git2::Error::new(ErrorCode::Owner, git2::ErrorClass::Config, "not owned by current user");
        let error = not_opened("/srv/app", &refused);
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.hint.as_deref(), Some("git config --global --add safe.directory /srv/app"));
    }
}
