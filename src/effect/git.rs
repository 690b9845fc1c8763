//! Git repositories: changed files, the checked-out commit, pull.

use serde::{Deserialize, Serialize};

use super::category::category;
use super::request::request;
use super::{Effect, EffectError, ErrorKind, Observation, Outcome, PendingEffect, Undo};
use crate::base::duration_text::DurationText;

category! {
    /// Actions on git repositories.
    Git: GitEffect => GitOutcome {
        Changed(GitChanged),
        Head(GitHead),
        Pull(GitPull),
    }
}

/// `git_changed`: lists the files that differ between two revisions, renames and deletions included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitChanged {
    /// A folder of the repository. Default `.`.
    #[serde(default = "current_folder")]
    pub repo: String,
    /// Any revision: a commit, a tag, `HEAD~1`.
    pub from: String,
    /// Any revision. Default `HEAD`.
    #[serde(default = "head")]
    pub to: String,
}

fn current_folder() -> String {
    ".".into()
}

fn head() -> String {
    "HEAD".into()
}

request! {
    GitChanged {
        kind: "git_changed",
        reply: Changes,
        access: Read,
        subject: |changed| format!("{}..{}", changed.from, changed.to),
    }
}

/// The differences between two commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The full id of the first commit.
    pub from: String,
    /// The full id of the second commit.
    pub to: String,
    /// The changed files.
    pub files: Vec<ChangedFile>,
    /// Every path involved, once, sorted: the new path and, for renames, the old one.
    pub paths: Vec<String>,
}

/// One changed file. Paths are relative to the repository's root and use `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// The path, which is the new one for renames.
    pub path: String,
    /// The old path of a renamed or copied file.
    #[serde(default)]
    pub old_path: Option<String>,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// Its content or mode changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another path.
    Renamed,
    /// It is a copy of another file.
    Copied,
    /// A file, link or submodule became another of these.
    Retyped,
}

/// `git_head`: reads the commit that is checked out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitHead {
    /// A folder of the repository. Default `.`.
    #[serde(default = "current_folder")]
    pub repo: String,
    /// Returns `()` instead of failing if there is no repository, or no commit in it.
    #[serde(default)]
    pub missing_ok: bool,
}

request! {
    GitHead {
        kind: "git_head",
        reply: Option<Head>,
        access: Read,
        subject: repo,
    }
}

/// The commit that is checked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The full id.
    pub commit: String,
    /// The first 12 digits of the id.
    pub short: String,
    /// The branch; missing if none is checked out.
    #[serde(default)]
    pub branch: Option<String>,
    /// The first line of its message.
    pub message: String,
    /// Seconds since 1970, UTC.
    pub time: i64,
    /// Whether tracked files differ from the commit.
    pub dirty: bool,
}

/// `git_pull`: fetches a branch and fast-forwards the checked-out one to it. Never merges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitPull {
    /// A folder of the repository. Default `.`.
    #[serde(default = "current_folder")]
    pub repo: String,
    /// Default `origin`.
    #[serde(default = "default_remote")]
    pub remote: String,
    /// Default: the checked-out branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Default 2 min.
    #[serde(default = "default_pull_timeout")]
    pub timeout: DurationText,
    /// Resets the checked-out branch to this commit instead. Used by the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
}

fn default_remote() -> String {
    "origin".into()
}

fn default_pull_timeout() -> DurationText {
    DurationText::secs(120)
}

request! {
    GitPull {
        kind: "git_pull",
        reply: Pulled,
        access: Write,
        deadline: timeout,
        subject: repo,
        prior: |pull| Some(pull.read_head()),
        undo: Self::undo_from,
        evidence: |pull| Some(pull.read_head()),
        observe: Self::observe_from,
    }
}

impl GitPull {
    fn read_head(&self) -> Effect {
        GitHead { repo: self.repo.clone(), missing_ok: false }.into()
    }

    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Git(GitOutcome::Head(Some(head)))) if self.back_to.is_none() => {
                Undo::by(Self { back_to: Some(head.commit.clone()), ..self.clone() })
            }
            _ => Undo::Nothing,
        }
    }

    /// Compares with the commit before. Scripts ask for the range of a pull, and a second pull would report no change.
    fn observe_from(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        let from = match pending.undo {
            Some(Effect::Git(GitEffect::Pull(undo))) => undo.back_to.as_ref(),
            _ => None,
        };
        match (from, evidence) {
            (Some(from), Outcome::Git(GitOutcome::Head(Some(head)))) if head.commit != *from => {
                let pulled = Pulled { from: from.clone(), to: head.commit.clone(), updated: true };
                Observation::done(Outcome::Git(GitOutcome::Pull(pulled)))
            }
            _ => Observation::NotDone,
        }
    }
}

/// Returns the error for a folder outside of every repository.
pub fn repository_not_found(folder: &str) -> EffectError {
    EffectError::not_found(format!("folder `{folder}` is not in a git repository"))
        .hint("give the folder of a clone as `repo`")
}

/// Returns the error for a revision that does not exist in the repository of a folder.
pub fn revision_not_found(revision: &str, folder: &str) -> EffectError {
    EffectError::not_found(format!("revision `{revision}` does not exist in `{folder}`"))
        .hint(format!("git -C {folder} fetch --tags, then git -C {folder} log {revision}"))
}

/// Returns the error for a repository without a commit.
pub fn no_commit(folder: &str) -> EffectError {
    EffectError::not_found(format!("the repository at `{folder}` has no commit yet"))
}

impl GitPull {
    /// Returns the error for a branch that cannot be fetched.
    pub fn fetch_failed(&self, branch: &str) -> EffectError {
        EffectError::new(ErrorKind::Failed, format!("cannot fetch branch `{branch}` from `{}`", self.remote))
            .hint(format!("git -C {} fetch {} {branch}", self.repo, self.remote))
            .not_applied()
    }

    /// Returns the error for a branch that cannot be fast-forwarded; `fetched` is the remote's commit.
    pub fn diverged(&self, branch: &str, before: &str, fetched: &str) -> EffectError {
        EffectError::conflict(format!(
            "`{}` has commits that `{branch}` of `{}` does not have: {before} cannot be fast-forwarded to {fetched}",
            self.repo, self.remote
        ))
        .hint(format!("git -C {} log --oneline --left-right HEAD...{fetched}", self.repo))
    }

    /// Returns the branch to fetch: `branch`, or the one that is checked out.
    ///
    /// # Errors
    /// Fails if there is neither.
    pub fn required_branch<'a>(&'a self, checked_out: Option<&'a str>) -> Result<&'a str, EffectError> {
        self.branch.as_deref().or(checked_out).ok_or_else(|| {
            EffectError::conflict(format!("no branch is checked out in `{}`", self.repo))
                .hint(format!("git -C {} switch main, or give `branch`", self.repo))
        })
    }
}

/// The result of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The commit before.
    pub from: String,
    /// The commit now.
    pub to: String,
    /// Whether they differ.
    pub updated: bool,
}
