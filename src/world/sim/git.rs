//! Git repositories of a scenario: a line of commits, where the checkout and its remote stand. Knows no git format.
//!
//! Faults: no such repository or revision, a remote that does not answer, a branch that cannot move forward.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sim_host::SimHost;
use crate::effect::git::{Change, ChangedFile, Changes, GitEffect, GitOutcome, GitPull, Head, Pulled};
use crate::effect::{EffectError, ErrorKind};

/// Letters that name a commit at the least.
const SHORTEST_COMMIT: usize = 4;
const SHORT_COMMIT: usize = 12;

/// A commit: what changed against the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commit {
    /// 40 hexadecimal digits.
    pub id: String,
    pub message: String,
    /// Seconds since 1970, UTC.
    pub time: i64,
    pub files: Vec<ChangedFile>,
}

/// A repository with one branch, oldest commit first; the commits after `head` are on the remote only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repo {
    pub branch: Option<String>,
    pub commits: Vec<Commit>,
    /// The checked-out commit's place in `commits`.
    pub head: usize,
    /// Names of commits: tag to id.
    pub tags: BTreeMap<String, String>,
    pub dirty: bool,
    pub remote_down: bool,
    /// Whether the checkout has commits of its own, so that a pull cannot move it forward.
    pub diverged: bool,
}

impl Repo {
    fn place_of(&self, revision: &str) -> Option<usize> {
        let (base, back) = match revision.split_once('~') {
            Some((base, "")) => (base, 1),
            Some((base, back)) => (base, back.parse().ok()?),
            None => match revision.strip_suffix('^') {
                Some(base) => (base, 1),
                None => (revision, 0),
            },
        };
        let place = if base == "HEAD" || self.branch.as_deref() == Some(base) {
            self.head
        } else {
            let wanted = self.tags.get(base).map_or(base, String::as_str);
            (wanted.len() >= SHORTEST_COMMIT)
                .then(|| self.commits.iter().position(|commit| commit.id.starts_with(wanted)))
                .flatten()?
        };
        place.checked_sub(back).filter(|place| *place < self.commits.len())
    }

    /// The net difference, by the new path.
    fn changes(&self, from: usize, to: usize) -> BTreeMap<String, ChangedFile> {
        let mut net: BTreeMap<String, ChangedFile> = BTreeMap::new();
        if from <= to {
            for commit in &self.commits[from + 1..=to] {
                commit.files.iter().for_each(|file| fold(&mut net, file.clone()));
            }
        } else {
            for commit in self.commits[to + 1..=from].iter().rev() {
                commit.files.iter().rev().for_each(|file| fold(&mut net, reverse(file)));
            }
        }
        net
    }
}

fn reverse(file: &ChangedFile) -> ChangedFile {
    let (path, old_path, change) = match (&file.change, &file.old_path) {
        (Change::Renamed, Some(old)) => (old.clone(), Some(file.path.clone()), Change::Renamed),
        (Change::Added | Change::Copied, _) => (file.path.clone(), None, Change::Deleted),
        (Change::Deleted, _) => (file.path.clone(), None, Change::Added),
        (change, _) => (file.path.clone(), None, *change),
    };
    ChangedFile { path, old_path, change }
}

/// Adds one more change to what has changed so far.
fn fold(net: &mut BTreeMap<String, ChangedFile>, next: ChangedFile) {
    let before = net.remove(next.old_path.as_ref().filter(|_| next.change == Change::Renamed).unwrap_or(&next.path));
    let mut now = next;
    match (before, now.change) {
        (Some(before), Change::Deleted) if before.change == Change::Added => return,
        (Some(before), Change::Deleted) if before.change == Change::Renamed => {
            now.path = before.old_path.unwrap_or(now.path);
        }
        (Some(before), Change::Added) if before.change == Change::Deleted => now.change = Change::Modified,
        (Some(before), Change::Renamed) if before.change == Change::Added => {
            (now.change, now.old_path) = (Change::Added, None);
        }
        (Some(before), Change::Renamed) if before.change == Change::Renamed => now.old_path = before.old_path,
        (Some(before), Change::Modified) => (now.change, now.old_path) = (before.change, before.old_path),
        _ => {}
    }
    if now.change == Change::Renamed && now.old_path.as_ref() == Some(&now.path) {
        return;
    }
    net.insert(now.path.clone(), now);
}

fn unknown(revision: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("revision `{revision}` does not exist")).hint("git log").not_applied()
}

impl SimHost {
    pub(super) fn git(&mut self, effect: &GitEffect) -> Result<GitOutcome, EffectError> {
        Ok(match effect {
            GitEffect::Changed(request) => {
                let repo = self.repo(&request.repo)?;
                let from = repo.place_of(&request.from).ok_or_else(|| unknown(&request.from))?;
                let to = repo.place_of(&request.to).ok_or_else(|| unknown(&request.to))?;
                let files: Vec<ChangedFile> = repo.changes(from, to).into_values().collect();
                let mut paths: Vec<String> =
                    files.iter().flat_map(|file| file.old_path.iter().chain([&file.path]).cloned()).collect();
                paths.sort_unstable();
                paths.dedup();
                let id = |place: usize| repo.commits[place].id.clone();
                GitOutcome::Changed(Changes { from: id(from), to: id(to), files, paths })
            }
            GitEffect::Head(request) => match self.head_of(&request.repo) {
                Err(error) if request.missing_ok && error.kind == ErrorKind::NotFound => GitOutcome::Head(None),
                found => GitOutcome::Head(Some(found?)),
            },
            GitEffect::Pull(request) => GitOutcome::Pull(self.pull_commits(request)?),
        })
    }

    fn head_of(&mut self, path: &str) -> Result<Head, EffectError> {
        let repo = self.repo(path)?;
        let commit = repo.commits.get(repo.head).ok_or_else(|| unknown("HEAD"))?;
        Ok(Head {
            commit: commit.id.clone(),
            short: commit.id.chars().take(SHORT_COMMIT).collect(),
            branch: repo.branch.clone(),
            message: commit.message.lines().next().unwrap_or_default().to_owned(),
            time: commit.time,
            dirty: repo.dirty,
        })
    }

    fn repo(&mut self, path: &str) -> Result<&mut Repo, EffectError> {
        self.repos.get_mut(path).ok_or_else(|| {
            EffectError::new(ErrorKind::NotFound, format!("`{path}` is not in a git repository")).not_applied()
        })
    }

    fn pull_commits(&mut self, request: &GitPull) -> Result<Pulled, EffectError> {
        let repo = self.repo(&request.repo)?;
        let from = repo.commits.get(repo.head).ok_or_else(|| unknown("HEAD"))?.id.clone();
        let target = match &request.back_to {
            Some(commit) => repo.place_of(commit).ok_or_else(|| unknown(commit))?,
            None if repo.remote_down => {
                let message = format!("remote `{}` does not answer", request.remote);
                return Err(EffectError::new(ErrorKind::Unavailable, message).not_applied());
            }
            None if repo.diverged => {
                let message = format!("`{}` has commits that the remote has not", request.repo);
                return Err(EffectError::new(ErrorKind::Conflict, message).hint("git pull --rebase").not_applied());
            }
            None => repo.commits.len() - 1,
        };
        repo.head = target;
        let to = repo.commits[target].id.clone();
        Ok(Pulled { updated: from != to, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(change: Change, path: &str, old: Option<&str>) -> ChangedFile {
        ChangedFile { path: path.into(), old_path: old.map(str::to_owned), change }
    }

    #[test]
    fn the_net_difference_reads_both_ways() {
        let commit = |number: u8, files| Commit { id: format!("{number}").repeat(40), files, ..Commit::default() };
        let repo = Repo {
            branch: Some("main".into()),
            commits: vec![
                commit(1, vec![]),
                commit(2, vec![file(Change::Added, "a", None), file(Change::Deleted, "old", None)]),
                commit(3, vec![file(Change::Renamed, "b", Some("a")), file(Change::Renamed, "y", Some("x"))]),
                commit(4, vec![file(Change::Modified, "y", None), file(Change::Added, "old", None)]),
            ],
            head: 3,
            ..Repo::default()
        };
        assert_eq!(repo.place_of("HEAD~2"), Some(1));
        assert_eq!(repo.place_of("3333"), Some(2));
        assert_eq!(repo.place_of("HEAD~9"), None);
        let forward: Vec<_> = repo.changes(0, 3).into_values().collect();
        let expected = [
            file(Change::Added, "b", None),
            file(Change::Modified, "old", None),
            file(Change::Renamed, "y", Some("x")),
        ];
        assert_eq!(forward, expected);
        let back: Vec<_> = repo.changes(3, 0).into_values().collect();
        let expected = [
            file(Change::Deleted, "b", None),
            file(Change::Modified, "old", None),
            file(Change::Renamed, "x", Some("y")),
        ];
        assert_eq!(back, expected);
    }
}
