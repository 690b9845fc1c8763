//! Git.

use super::{BOOL, DURATION, NO_TIMEOUT_HARM, STRING};
use crate::effect::ErrorKind::{Conflict, Failed, NotFound, Refused};
use crate::effect::git::{GitChanged, GitHead, GitPull};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<GitChanged>(
            "Lists the files that differ between two revisions, renames and deletions included.",
        )
        .required("from", STRING, "any revision: a commit, a tag, \"HEAD~1\"")
        .optional("repo", STRING, "\".\"", "a folder of the repository")
        .optional("to", STRING, "\"HEAD\"", "any revision")
        .returns("from and to (commits), files (path, old_path, change), paths (every path concerned, sorted)")
        .errors(&[NotFound, Refused, Failed])
        .example("git_changed(#{from: \"HEAD~1\"})"),
        Primitive::of::<GitHead>("Tells where a repository stands.")
            .positional(&["repo"])
            .optional("repo", STRING, "\".\"", "a folder of the repository")
            .optional("missing_ok", BOOL, "false", "returns () where there is no repository, or no commit in it")
            .returns("commit, short, branch, message, time, dirty")
            .errors(&[NotFound, Refused, Failed])
            .example("git_head()"),
        Primitive::of::<GitPull>("Fetches a branch and moves the checked-out one forward to it. Never merges.")
            .positional(&["repo"])
            .optional("repo", STRING, "\".\"", "a folder of the repository")
            .optional("remote", STRING, "\"origin\"", "where to fetch from")
            .optional("branch", STRING, "the checked-out one", "what to fetch")
            .optional("timeout", DURATION, "\"2m\"", NO_TIMEOUT_HARM)
            .returns("from and to (commits), updated")
            .undo("moves the branch back")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("git_pull()"),
    ]
}
