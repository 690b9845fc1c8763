//! `git_pull`: through the machine's git program, which has the user's credentials and ssh settings.
//! Decides by commits, never by what the program says.

use git2::{ErrorCode, Oid};

use super::Services;
use super::git::{failed, open};
use super::program::{Program, evidence};
use super::wait::within;
use crate::effect::exec::ProgramResult;
use crate::effect::git::{GitPull, Head, Pulled};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Nobody sits at the terminal: a question would only hang.
const ASK_NOTHING: [(&str, &str); 4] =
    [("GIT_TERMINAL_PROMPT", "0"), ("SSH_ASKPASS", "/bin/false"), ("SSH_ASKPASS_REQUIRE", "force"), ("LC_ALL", "C")];
/// A git hook that starts deployer sets these for its own repository.
const NOT_INHERITED: &[&str] = &["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"];

/// How the fetched commit lies to the checked-out one.
enum Way {
    Forward(String),
    AlreadyThere,
    Apart(String),
}

impl Services {
    pub(super) async fn git_pull(&self, call: &Call, request: &GitPull) -> Result<Pulled, EffectError> {
        let late = || {
            let message = format!("pulling into `{}` took longer than {}", request.repo, request.timeout);
            EffectError::new(ErrorKind::Timeout, message)
        };
        within(call, self.clock.as_ref(), request.timeout.0, late, self.pull(call, request)).await
    }

    async fn pull(&self, call: &Call, request: &GitPull) -> Result<Pulled, EffectError> {
        let before = self.git_head(call, &request.repo).await.map_err(EffectError::not_applied)?;
        match &request.back_to {
            Some(commit) if *commit == before.commit => return Ok(pulled(&before.commit, &before.commit)),
            Some(commit) => self.move_back(call, request, commit).await?,
            None => {
                let branch = branch_of(request, &before)?;
                self.fetch(call, request, &branch).await?;
                match self.way_to_fetched(call, request, &before).await.map_err(EffectError::not_applied)? {
                    Way::AlreadyThere => return Ok(pulled(&before.commit, &before.commit)),
                    Way::Apart(fetched) => return Err(apart(request, &branch, &before, &fetched)),
                    Way::Forward(fetched) => self.move_forward(call, request, &fetched).await?,
                }
            }
        }
        let after = self.git_head(call, &request.repo).await?;
        Ok(pulled(&before.commit, &after.commit))
    }

    async fn run_git(&self, call: &Call, request: &GitPull, args: &[&str]) -> Result<ProgramResult, EffectError> {
        let words = ["-C", &request.repo].into_iter().chain(args.iter().copied());
        let mut program = Program::new("git", words);
        program.label = format!("git {}", args[0]);
        program.environment = ASK_NOTHING.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        program.without = NOT_INHERITED;
        program.timeout = request.timeout.0;
        program.tells = true;
        program.run(call, self.clock.as_ref()).await
    }

    async fn fetch(&self, call: &Call, request: &GitPull, branch: &str) -> Result<(), EffectError> {
        let result = self
            .run_git(call, request, &["fetch", "--no-recurse-submodules", "--", &request.remote, branch])
            .await
            .map_err(EffectError::not_applied)?;
        if result.exit_code == 0 {
            return Ok(());
        }
        let message = format!("branch `{branch}` cannot be fetched from `{}`", request.remote);
        Err(EffectError::new(ErrorKind::Failed, message)
            .hint(format!("git -C {} fetch {} {branch}", request.repo, request.remote))
            .detail(call.vault.scrub(&evidence(&result.stdout, &result.stderr)))
            .not_applied())
    }

    async fn way_to_fetched(&self, call: &Call, request: &GitPull, before: &Head) -> Result<Way, EffectError> {
        let folder = request.repo.clone();
        let head = before.commit.clone();
        self.reading_git(call, move |_| {
            let repo = open(&folder)?;
            let way = || -> Result<Way, git2::Error> {
                let head = Oid::from_str(&head)?;
                let fetched = repo.revparse_single("FETCH_HEAD")?.peel_to_commit()?.id();
                // Where the histories of a shallow clone end, no path is found: the program then has the last word.
                let descends = |young, old| match repo.graph_descendant_of(young, old) {
                    Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
                    known => known,
                };
                Ok(if fetched == head || descends(head, fetched)? {
                    Way::AlreadyThere
                } else if descends(fetched, head)? || repo.is_shallow() {
                    Way::Forward(fetched.to_string())
                } else {
                    Way::Apart(fetched.to_string())
                })
            };
            way().map_err(|error| failed(&folder, &error))
        })
        .await
    }

    async fn move_forward(&self, call: &Call, request: &GitPull, fetched: &str) -> Result<(), EffectError> {
        let result = self.run_git(call, request, &["merge", "--ff-only", fetched]).await?;
        settled(call, request, &result, "the checked-out branch cannot be moved forward")
    }

    async fn move_back(&self, call: &Call, request: &GitPull, commit: &str) -> Result<(), EffectError> {
        if Oid::from_str(commit).is_err() {
            let message = format!("`{commit}` is not a commit's full name");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let result = self.run_git(call, request, &["reset", "--keep", commit]).await?;
        settled(call, request, &result, "the checked-out branch cannot be moved back")
    }
}

fn settled(call: &Call, request: &GitPull, result: &ProgramResult, message: &str) -> Result<(), EffectError> {
    if result.exit_code == 0 {
        return Ok(());
    }
    Err(EffectError::new(ErrorKind::Conflict, format!("{message} in `{}`", request.repo))
        .hint(format!("git -C {} status", request.repo))
        .detail(call.vault.scrub(&evidence(&result.stdout, &result.stderr))))
}

fn pulled(from: &str, to: &str) -> Pulled {
    Pulled { from: from.into(), to: to.into(), updated: from != to }
}

fn branch_of(request: &GitPull, before: &Head) -> Result<String, EffectError> {
    let refused = |kind, message: String| EffectError::new(kind, message).not_applied();
    let branch = request.branch.as_ref().or(before.branch.as_ref()).ok_or_else(|| {
        refused(ErrorKind::Conflict, format!("no branch is checked out in `{}`", request.repo))
            .hint(format!("git -C {} switch main, or give `branch`", request.repo))
    })?;
    for (option, value) in [("branch", branch), ("remote", &request.remote)] {
        if value.is_empty() || value.starts_with('-') {
            return Err(refused(ErrorKind::Invalid, format!("`{value}` cannot be a `{option}`")));
        }
    }
    Ok(branch.clone())
}

fn apart(request: &GitPull, branch: &str, before: &Head, fetched: &str) -> EffectError {
    let short: String = fetched.chars().take(12).collect();
    let message = format!(
        "`{}` has commits that `{branch}` of `{}` lacks: {} cannot be moved forward to {short}",
        request.repo, request.remote, before.short
    );
    EffectError::new(ErrorKind::Conflict, message)
        .hint(format!("git -C {} log --oneline --left-right HEAD...{short}", request.repo))
        .not_applied()
}
