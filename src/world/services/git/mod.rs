//! `git_changed`, `git_head` and `git_pull`.

mod pull;
mod repository;

use std::sync::Arc;

use crate::effect::git::{GitEffect, GitOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use pull::GitPuller;
use repository::RepositoryReader;

/// Performs the effects on git repositories.
pub(crate) struct GitService {
    reader: RepositoryReader,
    puller: GitPuller,
}

impl GitService {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let reader = RepositoryReader::new(Arc::clone(&clock));
        Self { puller: GitPuller::new(reader.clone(), clock), reader }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &GitEffect) -> Result<GitOutcome, EffectError> {
        match effect {
            GitEffect::Changed(request) => self.reader.changed(call, request).await.map(GitOutcome::Changed),
            GitEffect::Head(request) => match self.reader.head(call, &request.repo).await {
                Err(error) if request.missing_ok && error.kind == ErrorKind::NotFound => Ok(GitOutcome::Head(None)),
                found => found.map(Some).map(GitOutcome::Head),
            },
            GitEffect::Pull(request) => self.puller.pull(call, request).await.map(GitOutcome::Pull),
        }
    }
}
