//! `git_pull`: runs the machine's git program, which has the user's credentials and ssh settings.
//! Decides by commits, never by the program's output.

use std::sync::Arc;

use git2::{ErrorCode, Oid};

use super::repository::{RepositoryReader, SHORT_ID, open, read_failed};
use crate::effect::exec::ProgramResult;
use crate::effect::git::{GitPull, Head, Pulled};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::cancellation::with_timeout;
use crate::world::services::subprocess::{Subprocess, output_excerpt};

/// Makes git fail instead of asking a question that no one would answer.
const NO_PROMPTS: [(&str, &str); 4] =
    [("GIT_TERMINAL_PROMPT", "0"), ("SSH_ASKPASS", "/bin/false"), ("SSH_ASKPASS_REQUIRE", "force"), ("LC_ALL", "C")];
/// Variables that a git hook which starts deployer has set for its own repository.
const REMOVED_ENVIRONMENT: &[&str] =
    &["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"];

/// How the fetched commit relates to the checked-out one.
enum FetchResult {
    FastForward(String),
    UpToDate,
    Diverged(String),
}

/// Pulls into clones.
pub(super) struct GitPuller {
    reader: RepositoryReader,
    clock: Arc<dyn Clock>,
}

impl GitPuller {
    pub(super) fn new(reader: RepositoryReader, clock: Arc<dyn Clock>) -> Self {
        Self { reader, clock }
    }

    pub(super) async fn pull(&self, call: &Call, request: &GitPull) -> Result<Pulled, EffectError> {
        let timed_out = || EffectError::timed_out(&format!("pulling into `{}`", request.repo), request.timeout);
        with_timeout(call, self.clock.as_ref(), request.timeout.0, timed_out, self.pull_now(call, request)).await
    }

    async fn pull_now(&self, call: &Call, request: &GitPull) -> Result<Pulled, EffectError> {
        let before = self.reader.head(call, &request.repo).await.map_err(EffectError::not_applied)?;
        match &request.back_to {
            Some(commit) if *commit == before.commit => return Ok(pulled(&before.commit, &before.commit)),
            Some(commit) => self.reset_to(call, request, commit).await?,
            None => {
                let branch = branch_of(request, &before)?;
                self.fetch(call, request, &branch).await?;
                match self.compare_fetched(call, request, &before).await.map_err(EffectError::not_applied)? {
                    FetchResult::UpToDate => return Ok(pulled(&before.commit, &before.commit)),
                    FetchResult::Diverged(fetched) => return Err(diverged(request, &branch, &before, &fetched)),
                    FetchResult::FastForward(fetched) => self.fast_forward(call, request, &fetched).await?,
                }
            }
        }
        let after = self.reader.head(call, &request.repo).await?;
        Ok(pulled(&before.commit, &after.commit))
    }

    async fn run_git(&self, call: &Call, request: &GitPull, args: &[&str]) -> Result<ProgramResult, EffectError> {
        let label = format!("git {}", args[0]);
        let args = ["-C", &request.repo].into_iter().chain(args.iter().copied());
        let mut subprocess = Subprocess::new("git", args);
        subprocess.label = label;
        subprocess.environment = NO_PROMPTS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        subprocess.removed_environment = REMOVED_ENVIRONMENT;
        subprocess.timeout = request.timeout.0;
        subprocess.reports_progress = true;
        subprocess.run(call, self.clock.as_ref()).await
    }

    async fn fetch(&self, call: &Call, request: &GitPull, branch: &str) -> Result<(), EffectError> {
        let result = self
            .run_git(call, request, &["fetch", "--no-recurse-submodules", "--", &request.remote, branch])
            .await
            .map_err(EffectError::not_applied)?;
        if result.exit_code == 0 {
            return Ok(());
        }
        Err(request.fetch_failed(branch).detail(call.vault.scrub(&output_excerpt(&result.stdout, &result.stderr))))
    }

    async fn compare_fetched(&self, call: &Call, request: &GitPull, before: &Head) -> Result<FetchResult, EffectError> {
        let folder = request.repo.clone();
        let head = before.commit.clone();
        self.reader
            .read(call, move |_| {
                let repo = open(&folder)?;
                let compare = || -> Result<FetchResult, git2::Error> {
                    let head = Oid::from_str(&head)?;
                    let fetched = repo.revparse_single("FETCH_HEAD")?.peel_to_commit()?.id();
                    // The history of a shallow clone may end before the common commit: the git program then decides.
                    let descends = |young, old| match repo.graph_descendant_of(young, old) {
                        Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
                        known => known,
                    };
                    Ok(if fetched == head || descends(head, fetched)? {
                        FetchResult::UpToDate
                    } else if descends(fetched, head)? || repo.is_shallow() {
                        FetchResult::FastForward(fetched.to_string())
                    } else {
                        FetchResult::Diverged(fetched.to_string())
                    })
                };
                compare().map_err(|error| read_failed(&folder, &error))
            })
            .await
    }

    async fn fast_forward(&self, call: &Call, request: &GitPull, fetched: &str) -> Result<(), EffectError> {
        let result = self.run_git(call, request, &["merge", "--ff-only", fetched]).await?;
        check_exit(call, request, &result, "cannot fast-forward the checked-out branch")
    }

    async fn reset_to(&self, call: &Call, request: &GitPull, commit: &str) -> Result<(), EffectError> {
        if Oid::from_str(commit).is_err() {
            let message = format!("`{commit}` is not a full commit id");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let result = self.run_git(call, request, &["reset", "--keep", commit]).await?;
        check_exit(call, request, &result, "cannot move the checked-out branch back")
    }
}

fn check_exit(call: &Call, request: &GitPull, result: &ProgramResult, message: &str) -> Result<(), EffectError> {
    if result.exit_code == 0 {
        return Ok(());
    }
    Err(EffectError::new(ErrorKind::Conflict, format!("{message} in `{}`", request.repo))
        .hint(format!("git -C {} status", request.repo))
        .detail(call.vault.scrub(&output_excerpt(&result.stdout, &result.stderr))))
}

fn pulled(from: &str, to: &str) -> Pulled {
    Pulled { from: from.into(), to: to.into(), updated: from != to }
}

fn branch_of(request: &GitPull, before: &Head) -> Result<String, EffectError> {
    let branch = request.required_branch(before.branch.as_deref())?;
    for (option, value) in [("branch", branch), ("remote", &request.remote)] {
        if value.is_empty() || value.starts_with('-') {
            return Err(EffectError::invalid(format!("`{value}` is not a valid `{option}`")));
        }
    }
    Ok(branch.to_owned())
}

fn diverged(request: &GitPull, branch: &str, before: &Head, fetched: &str) -> EffectError {
    let short: String = fetched.chars().take(SHORT_ID).collect();
    request.diverged(branch, &before.short, &short)
}
