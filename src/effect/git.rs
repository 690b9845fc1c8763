//! Git: where a repository stands, what changed, pull.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::family::family;
use super::{Access, Effect, Facts, Outcome, Request, Trace, Undo, Verdict};
use crate::base::duration_text::DurationText;

family! {
    /// What can be asked of a git repository.
    Git: GitEffect => GitOutcome {
        Changed(GitChanged),
        Head(GitHead),
        Pull(GitPull),
    }
}

/// `git_changed`: the files that differ between two revisions, renames and deletions included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitChanged {
    /// A folder of the repository. Default `.`.
    #[serde(default = "here")]
    pub repo: String,
    /// Any revision: a commit, a tag, `HEAD~1`.
    pub from: String,
    /// Default `HEAD`.
    #[serde(default = "head")]
    pub to: String,
}

fn here() -> String {
    ".".into()
}

fn head() -> String {
    "HEAD".into()
}

impl Facts for GitChanged {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        format!("{}..{}", self.from, self.to)
    }
}

impl Request for GitChanged {
    const KIND: &'static str = "git_changed";
    type Reply = Changes;
}

/// What differs between two commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The two commits in full.
    pub from: String,
    pub to: String,
    pub files: Vec<ChangedFile>,
    /// Every path concerned, once, sorted: the new and, for renames, the old one.
    pub paths: Vec<String>,
}

/// One changed file; paths are relative to the repository's root and use `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    pub path: String,
    /// Of a renamed or copied file.
    #[serde(default)]
    pub old_path: Option<String>,
    pub change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Modified,
    Deleted,
    Renamed,
    Copied,
    /// File, link or submodule became another of these.
    Retyped,
}

/// `git_head`: where the repository stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitHead {
    /// Default `.`.
    #[serde(default = "here")]
    pub repo: String,
    /// Returns `()` instead of failing where there is no repository, or no commit in it.
    #[serde(default)]
    pub missing_ok: bool,
}

impl Facts for GitHead {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.repo.clone()
    }
}

impl Request for GitHead {
    const KIND: &'static str = "git_head";
    type Reply = Option<Head>;
}

/// The commit that is checked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub commit: String,
    /// The first 12 letters of the commit.
    pub short: String,
    /// None when no branch is checked out.
    #[serde(default)]
    pub branch: Option<String>,
    /// The first line of its message.
    pub message: String,
    /// Seconds since 1970, UTC.
    pub time: i64,
    /// Whether tracked files differ from the commit.
    pub dirty: bool,
}

/// `git_pull`: fetches a branch and moves the checked-out one forward to it. Never merges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitPull {
    /// Default `.`.
    #[serde(default = "here")]
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
    /// Moves the checked-out branch back to this commit instead; what the undo asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
}

fn default_remote() -> String {
    "origin".into()
}

fn default_pull_timeout() -> DurationText {
    DurationText::secs(120)
}

impl Facts for GitPull {
    fn access(&self) -> Access {
        Access::Write
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + super::facts::GRACE
    }

    fn evidence(&self) -> Option<Effect> {
        Some(GitHead { repo: self.repo.clone(), missing_ok: false }.into())
    }

    /// Where it went is what scripts ask: a second pull would say that nothing was new.
    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        let from = match trace.undo {
            Some(Effect::Git(GitEffect::Pull(undo))) => undo.back_to.as_ref(),
            _ => None,
        };
        match (from, evidence) {
            (Some(from), Outcome::Git(GitOutcome::Head(Some(head)))) if head.commit != *from => {
                let pulled = Pulled { from: from.clone(), to: head.commit.clone(), updated: true };
                Verdict::happened(Outcome::Git(GitOutcome::Pull(pulled)))
            }
            _ => Verdict::Not,
        }
    }

    fn prior(&self) -> Option<Effect> {
        Some(GitHead { repo: self.repo.clone(), missing_ok: false }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Git(GitOutcome::Head(Some(head)))) if self.back_to.is_none() => {
                Undo::by(Self { back_to: Some(head.commit.clone()), ..self.clone() })
            }
            _ => Undo::Nothing,
        }
    }

    fn subject(&self) -> String {
        self.repo.clone()
    }
}

impl Request for GitPull {
    const KIND: &'static str = "git_pull";
    type Reply = Pulled;
}

/// Where a pull went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    pub from: String,
    pub to: String,
    pub updated: bool,
}
