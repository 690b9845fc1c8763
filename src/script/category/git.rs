//! Git.

use super::{BOOL, DURATION, STRING, TIMEOUT};
use crate::effect::ErrorKind::{Conflict, Failed, NotFound, Refused};
use crate::effect::git::{GitChanged, GitHead, GitPull};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<GitChanged>(
            "Lists the files that differ between two revisions, including renames and deletions.",
        )
        .required("from", STRING, "any revision: a commit, a tag, \"HEAD~1\"")
        .optional("repo", STRING, "\".\"", "folder in the repository")
        .optional("to", STRING, "\"HEAD\"", "any revision")
        .returns("from and to (commits), files (path, old_path, change), paths (all old and new paths, sorted)")
        .errors(&[NotFound, Refused, Failed])
        .example("git_changed(#{from: \"HEAD~1\"})"),
        Primitive::of::<GitHead>("Returns the checked-out commit of a repository.")
            .positional(&["repo"])
            .optional("repo", STRING, "\".\"", "folder in the repository")
            .optional("missing_ok", BOOL, "false", "return () if there is no repository or no commit in it")
            .returns("commit, short, branch, message, time, dirty")
            .errors(&[NotFound, Refused, Failed])
            .example("git_head()"),
        Primitive::of::<GitPull>("Fetches a branch and fast-forwards the checked-out branch to it. Never merges.")
            .positional(&["repo"])
            .optional("repo", STRING, "\".\"", "folder in the repository")
            .optional("remote", STRING, "\"origin\"", "remote to fetch from")
            .optional("branch", STRING, "the checked-out one", "branch to fetch")
            .optional("timeout", DURATION, "\"2m\"", TIMEOUT)
            .returns("from and to (commits), updated")
            .undo("moves the branch back to the old commit")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("git_pull()"),
    ]
}
