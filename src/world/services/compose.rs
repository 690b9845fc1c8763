//! Compose projects, through the compose program that the machine has. Reads its exit code and its ids,
//! never its words.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Services;
use super::compose_config;
use super::program::{Program, evidence};
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::{
    ComposeConfig, ComposeEffect, ComposeOutcome, ComposeProject, ComposePs, ComposeStop, ComposeUp,
};
use crate::effect::container::Container;
use crate::effect::exec::ProgramResult;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Of everything but `up`: less than the gateway's patience, so that the program's own words are heard.
const TIMEOUT: Duration = Duration::from_secs(50);
/// For the question which compose program there is.
const DETECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a configuration that are read.
const CONFIG_LIMIT: usize = 4 << 20;
/// Compose writes `True` here on containers of `compose run`.
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// The compose program of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ComposeProgram {
    /// `docker compose`.
    Plugin,
    /// `docker-compose`.
    Standalone,
}

impl ComposeProgram {
    fn name(self) -> &'static str {
        match self {
            Self::Plugin => "docker compose",
            Self::Standalone => "docker-compose",
        }
    }

    fn program(self, mut args: Vec<String>) -> Program {
        match self {
            Self::Plugin => {
                args.insert(0, "compose".into());
                Program::new("docker", args)
            }
            Self::Standalone => Program::new("docker-compose", args),
        }
    }
}

impl Services {
    pub(super) async fn compose(&self, call: &Call, effect: &ComposeEffect) -> Result<ComposeOutcome, EffectError> {
        match effect {
            ComposeEffect::Up(request) => self.compose_up(call, request).await.map(ComposeOutcome::Up),
            ComposeEffect::Stop(request) => self.compose_stop(call, request).await.map(ComposeOutcome::Stop),
            ComposeEffect::Ps(request) => self.compose_ps(call, request).await.map(ComposeOutcome::Ps),
            ComposeEffect::Config(request) => self.compose_config(call, request).await.map(ComposeOutcome::Config),
        }
    }

    async fn compose_up(&self, call: &Call, request: &ComposeUp) -> Result<Vec<Container>, EffectError> {
        let mut args = vec!["up", "-d"];
        args.extend(request.build.then_some("--build"));
        args.extend(request.force_recreate.then_some("--force-recreate"));
        args.extend(request.no_deps.then_some("--no-deps"));
        self.compose_run(call, &request.project, &args, &request.services, request.timeout.0).await?;
        let ps = ComposePs { project: request.project.clone(), services: request.services.clone() };
        self.compose_ps(call, &ps).await
    }

    async fn compose_stop(&self, call: &Call, request: &ComposeStop) -> Result<(), EffectError> {
        let args: &[&str] = if request.remove { &["rm", "-f", "-s"] } else { &["stop"] };
        self.compose_run(call, &request.project, args, &request.services, TIMEOUT).await.map(drop)
    }

    async fn compose_ps(&self, call: &Call, request: &ComposePs) -> Result<Vec<Container>, EffectError> {
        let ids = self.compose_run(call, &request.project, &["ps", "-a", "-q"], &request.services, TIMEOUT).await?;
        let mut containers = Vec::new();
        for id in ids.stdout.lines().map(str::trim).filter(|id| !id.is_empty()) {
            containers.extend(self.engine.look(&ContainerRef::from(id)).await?);
        }
        containers.retain(|container| container.labels.get(ONE_OFF).is_none_or(|value| value != "True"));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    async fn compose_config(&self, call: &Call, request: &ComposeConfig) -> Result<Value, EffectError> {
        let printed = self.compose_run(call, &request.project, &["config"], &[], TIMEOUT).await?;
        if printed.truncated {
            let message = format!("the configuration of `{}` is longer than 4 MiB", request.project.file);
            return Err(EffectError::new(ErrorKind::Invalid, message));
        }
        compose_config::read(&printed.stdout).map_err(|why| {
            EffectError::new(ErrorKind::Failed, format!("what `compose config` printed is not understood: {why}"))
        })
    }

    /// Runs one compose command to its successful end.
    async fn compose_run(
        &self,
        call: &Call,
        project: &ComposeProject,
        command: &[&str],
        services: &[String],
        timeout: Duration,
    ) -> Result<ProgramResult, EffectError> {
        let Some(engine_environment) = self.engine.compose_environment() else {
            return Err(EffectError::unsupported("compose", self.engine.name()));
        };
        if !Path::new(&project.file).is_file() {
            let message = format!("there is no compose file `{}`", project.file);
            return Err(EffectError::new(ErrorKind::NotFound, message).not_applied());
        }
        if let Some(service) = services.iter().find(|service| service.is_empty() || service.starts_with('-')) {
            let message = format!("`{service}` cannot be the name of a service");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let compose = *self.compose_program.get_or_try_init(|| self.detect_compose(call)).await?;
        let mut args = vec!["-f".to_owned(), project.file.clone()];
        if let Some(name) = &project.project {
            args.extend(["-p".to_owned(), name.clone()]);
        }
        args.extend(command.iter().map(|&word| word.to_owned()));
        args.extend(services.iter().cloned());
        let mut program = compose.program(args);
        program.label = format!("{} {}", compose.name(), command[0]);
        program.timeout = timeout;
        program.tells = command[0] != "ps" && command[0] != "config";
        program.output_limit = if command[0] == "config" { CONFIG_LIMIT } else { program.output_limit };
        program.environment = engine_environment;
        for (name, value) in &project.environment {
            program.environment.push((name.clone(), call.vault.reveal(value)?));
        }
        let label = program.label.clone();
        let result = program.run(call, self.clock.as_ref()).await?;
        if result.exit_code == 0 {
            return Ok(result);
        }
        let shown = call.vault.scrub(&evidence(&result.stdout, &result.stderr));
        let error = EffectError::new(
            ErrorKind::Failed,
            format!("`{label}` of `{}` ended with exit code {}", project.file, result.exit_code),
        );
        let error = match hint_for(&shown) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        Err(error.detail(shown))
    }

    async fn detect_compose(&self, call: &Call) -> Result<ComposeProgram, EffectError> {
        for compose in [ComposeProgram::Plugin, ComposeProgram::Standalone] {
            let mut program = compose.program(vec!["version".into()]);
            program.timeout = DETECT_TIMEOUT;
            match program.run(call, self.clock.as_ref()).await {
                Ok(result) if result.exit_code == 0 => return Ok(compose),
                Err(error) if error.kind == ErrorKind::Cancelled => return Err(error.not_applied()),
                Ok(_) | Err(_) => {}
            }
        }
        Err(EffectError::new(ErrorKind::MissingTool, "neither `docker compose` nor `docker-compose` is installed")
            .hint("apt-get install docker-compose")
            .not_applied())
    }
}

/// Adds advice where the program's words are known. Nothing else is decided by them.
fn hint_for(words: &str) -> Option<&'static str> {
    if words.contains("port is already allocated") || words.contains("address already in use") {
        Some("see who has the port: `docker ps`, `ss -ltnp`")
    } else if words.contains("pull access denied") || words.contains("No such image") {
        Some("build the image first (`build: true`), or check its name and `docker login`")
    } else {
        None
    }
}
