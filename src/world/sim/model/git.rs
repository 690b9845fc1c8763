//! Git repositories: a line of commits, and where the checkout and its remote stand. Knows no git format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::effect::git::{Change, ChangedFile};

/// The shortest accepted abbreviation of a commit id.
const SHORTEST_COMMIT: usize = 4;

/// A commit: its changes against the previous one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimCommit {
    /// The id: 40 hexadecimal digits.
    pub id: String,
    /// The commit message.
    pub message: String,
    /// Commit time, in seconds since 1970, UTC.
    pub time: i64,
    /// Changed files.
    pub files: Vec<ChangedFile>,
}

/// A repository with one branch, oldest commit first. Commits after `head` exist only on the remote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimRepo {
    /// The name of the branch; `None` for a detached head.
    pub branch: Option<String>,
    /// All commits, oldest first.
    pub commits: Vec<SimCommit>,
    /// The index of the checked-out commit in `commits`.
    pub head: usize,
    /// Tags: name to commit id.
    pub tags: BTreeMap<String, String>,
    /// Whether the checkout has uncommitted changes.
    pub dirty: bool,
    /// Whether the remote does not answer.
    pub remote_down: bool,
    /// Whether the checkout has commits that the remote lacks, so that a pull cannot fast-forward.
    pub diverged: bool,
}

impl SimRepo {
    pub(crate) fn position_of(&self, revision: &str) -> Option<usize> {
        let (base, back) = match revision.split_once('~') {
            Some((base, "")) => (base, 1),
            Some((base, back)) => (base, back.parse().ok()?),
            None => match revision.strip_suffix('^') {
                Some(base) => (base, 1),
                None => (revision, 0),
            },
        };
        let position = if base == "HEAD" || self.branch.as_deref() == Some(base) {
            self.head
        } else {
            let wanted = self.tags.get(base).map_or(base, String::as_str);
            (wanted.len() >= SHORTEST_COMMIT)
                .then(|| self.commits.iter().position(|commit| commit.id.starts_with(wanted)))
                .flatten()?
        };
        position.checked_sub(back).filter(|position| *position < self.commits.len())
    }

    /// Returns the net difference between two commits, by new path.
    pub(crate) fn changes(&self, from: usize, to: usize) -> BTreeMap<String, ChangedFile> {
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

/// Adds one change to the net difference.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(change: Change, path: &str, old: Option<&str>) -> ChangedFile {
        ChangedFile { path: path.into(), old_path: old.map(str::to_owned), change }
    }

    #[test]
    fn the_net_difference_reads_both_ways() {
        let commit =
            |number: u8, files| SimCommit { id: format!("{number}").repeat(40), files, ..SimCommit::default() };
        let repo = SimRepo {
            branch: Some("main".into()),
            commits: vec![
                commit(1, vec![]),
                commit(2, vec![file(Change::Added, "a", None), file(Change::Deleted, "old", None)]),
                commit(3, vec![file(Change::Renamed, "b", Some("a")), file(Change::Renamed, "y", Some("x"))]),
                commit(4, vec![file(Change::Modified, "y", None), file(Change::Added, "old", None)]),
            ],
            head: 3,
            ..SimRepo::default()
        };
        assert_eq!(repo.position_of("HEAD~2"), Some(1));
        assert_eq!(repo.position_of("3333"), Some(2));
        assert_eq!(repo.position_of("HEAD~9"), None);
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
