//! Effects on simulated git repositories. Knows no git format.
//!
//! Faults: an unknown repository or revision, a remote that does not answer, a branch that cannot be fast-forwarded.

use super::model::git::SimRepo;
use super::sim_host::SimHost;
use crate::effect::git::{
    ChangedFile, Changes, GitEffect, GitOutcome, GitPull, Head, Pulled, no_commit, repository_not_found,
    revision_not_found,
};
use crate::effect::{EffectError, ErrorKind};

const SHORT_COMMIT: usize = 12;

impl SimHost {
    pub(super) fn git(&mut self, effect: &GitEffect) -> Result<GitOutcome, EffectError> {
        Ok(match effect {
            GitEffect::Changed(request) => {
                let repo = self.repo(&request.repo)?;
                let from =
                    repo.position_of(&request.from).ok_or_else(|| revision_not_found(&request.from, &request.repo))?;
                let to = repo.position_of(&request.to).ok_or_else(|| revision_not_found(&request.to, &request.repo))?;
                let files: Vec<ChangedFile> = repo.changes(from, to).into_values().collect();
                let mut paths: Vec<String> =
                    files.iter().flat_map(|file| file.old_path.iter().chain([&file.path]).cloned()).collect();
                paths.sort_unstable();
                paths.dedup();
                let id = |position: usize| repo.commits[position].id.clone();
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
        let commit = repo.commits.get(repo.head).ok_or_else(|| no_commit(path))?;
        Ok(Head {
            commit: commit.id.clone(),
            short: short(&commit.id).to_owned(),
            branch: repo.branch.clone(),
            message: commit.message.lines().next().unwrap_or_default().to_owned(),
            time: commit.time,
            dirty: repo.dirty,
        })
    }

    fn repo(&mut self, path: &str) -> Result<&mut SimRepo, EffectError> {
        self.repos.get_mut(path).ok_or_else(|| repository_not_found(path))
    }

    fn pull_commits(&mut self, request: &GitPull) -> Result<Pulled, EffectError> {
        let repo = self.repo(&request.repo)?;
        let from = repo.commits.get(repo.head).ok_or_else(|| no_commit(&request.repo))?.id.clone();
        let target = match &request.back_to {
            Some(commit) => repo.position_of(commit).ok_or_else(|| revision_not_found(commit, &request.repo))?,
            None => {
                let branch = request.required_branch(repo.branch.as_deref())?;
                let newest = repo.commits.len() - 1;
                if repo.remote_down {
                    return Err(request.fetch_failed(branch));
                }
                if repo.diverged {
                    return Err(request.diverged(branch, short(&from), short(&repo.commits[newest].id)));
                }
                newest
            }
        };
        repo.head = target;
        let to = repo.commits[target].id.clone();
        Ok(Pulled { updated: from != to, from, to })
    }
}

fn short(commit: &str) -> &str {
    commit.get(..SHORT_COMMIT).unwrap_or(commit)
}
