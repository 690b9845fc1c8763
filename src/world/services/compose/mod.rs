//! Compose projects, through the compose program that is installed. Relies on its exit code and the ids that it
//! prints, never on its messages.

mod config;
mod former;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::subprocess::{Subprocess, output_excerpt};
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::{
    ComposeConfig, ComposeEffect, ComposeOutcome, ComposeProject, ComposePs, ComposeStop, ComposeUp,
};
use crate::effect::container::Container;
use crate::effect::exec::ProgramResult;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::Engine;

/// Timeout of every command but `up`. It is shorter than the gateway's deadline, so that the program's own error is shown.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(50);
/// Timeout of detecting the compose program.
const DETECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest configuration that is read, in bytes.
const CONFIG_LIMIT: usize = 4 << 20;
/// Label that compose sets to `True` on containers of `compose run`.
const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";

/// The installed compose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ComposeProgram {
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

    fn command(self, mut args: Vec<String>) -> Subprocess {
        match self {
            Self::Plugin => {
                args.insert(0, "compose".into());
                Subprocess::new("docker", args)
            }
            Self::Standalone => Subprocess::new("docker-compose", args),
        }
    }
}

/// Performs the effects on compose projects.
pub(crate) struct ComposeService {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    /// Detected on first use.
    program: OnceCell<ComposeProgram>,
}

impl ComposeService {
    pub(crate) fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, clock, program: OnceCell::new() }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &ComposeEffect) -> Result<ComposeOutcome, EffectError> {
        match effect {
            ComposeEffect::Up(request) => self.up(call, request).await.map(ComposeOutcome::Up),
            ComposeEffect::Stop(request) => self.stop(call, request).await.map(ComposeOutcome::Stop),
            ComposeEffect::Ps(request) => self.ps(call, request).await.map(ComposeOutcome::Ps),
            ComposeEffect::Config(request) => self.config(call, request).await.map(ComposeOutcome::Config),
        }
    }

    async fn up(&self, call: &Call, request: &ComposeUp) -> Result<Vec<Container>, EffectError> {
        if !request.back_to.is_empty() {
            return self.restore_former(call, request).await;
        }
        let former = self.keep_former(call, &request.project, request.scope()).await?;
        let mut args = vec!["up", "-d"];
        args.extend(request.build.then_some("--build"));
        args.extend(request.force_recreate.then_some("--force-recreate"));
        args.extend(request.no_deps.then_some("--no-deps"));
        let ran = self.run(call, &request.project, &args, &request.services, request.timeout.0).await;
        let cleaned = self.remove_unused_copies(&former).await;
        ran?;
        cleaned?;
        let ps = ComposePs { project: request.project.clone(), services: request.services.clone() };
        self.ps(call, &ps).await
    }

    async fn stop(&self, call: &Call, request: &ComposeStop) -> Result<(), EffectError> {
        if request.remove && !request.disposable {
            self.keep_former(call, &request.project, &request.services).await?;
        }
        let args: &[&str] = if request.remove { &["rm", "-f", "-s"] } else { &["stop"] };
        self.run(call, &request.project, args, &request.services, COMMAND_TIMEOUT).await.map(drop)
    }

    async fn ps(&self, call: &Call, request: &ComposePs) -> Result<Vec<Container>, EffectError> {
        let ids = self.run(call, &request.project, &["ps", "-a", "-q"], &request.services, COMMAND_TIMEOUT).await?;
        let mut containers = Vec::new();
        for id in ids.stdout.lines().map(str::trim).filter(|id| !id.is_empty()) {
            containers.extend(self.engine.find_container(&ContainerRef::from(id)).await?);
        }
        containers.retain(|container| container.labels.get(ONE_OFF_LABEL).is_none_or(|value| value != "True"));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    async fn config(&self, call: &Call, request: &ComposeConfig) -> Result<Value, EffectError> {
        let printed = self.run(call, &request.project, &["config"], &[], COMMAND_TIMEOUT).await?;
        if printed.truncated {
            let message = format!("the configuration of `{}` is larger than 4 MiB", request.project.file);
            return Err(EffectError::new(ErrorKind::Invalid, message));
        }
        config::parse_without_values(&printed.stdout).map_err(|why| {
            EffectError::new(ErrorKind::Failed, format!("cannot parse the output of `compose config`: {why}"))
        })
    }

    /// Runs one compose command. A failed exit code is an error.
    async fn run(
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
            return Err(project.not_found());
        }
        if let Some(service) = services.iter().find(|service| service.is_empty() || service.starts_with('-')) {
            let message = format!("`{service}` is not a valid service name");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let compose = *self.program.get_or_try_init(|| self.detect(call)).await?;
        let mut args = vec!["-f".to_owned(), project.file.clone()];
        if let Some(name) = &project.project {
            args.extend(["-p".to_owned(), name.clone()]);
        }
        args.extend(command.iter().map(|&word| word.to_owned()));
        args.extend(services.iter().cloned());
        let mut subprocess = compose.command(args);
        subprocess.label = format!("{} {}", compose.name(), command[0]);
        subprocess.timeout = timeout;
        subprocess.reports_progress = command[0] != "ps" && command[0] != "config";
        subprocess.output_limit = if command[0] == "config" { CONFIG_LIMIT } else { subprocess.output_limit };
        subprocess.environment = engine_environment;
        for (name, value) in &project.environment {
            subprocess.environment.push((name.clone(), call.vault.reveal(value)?));
        }
        let label = subprocess.label.clone();
        let result = subprocess.run(call, self.clock.as_ref()).await?;
        if result.exit_code == 0 {
            return Ok(result);
        }
        let output = call.vault.scrub(&output_excerpt(&result.stdout, &result.stderr));
        let error = EffectError::new(
            ErrorKind::Failed,
            format!("`{label}` of `{}` ended with exit code {}", project.file, result.exit_code),
        );
        let error = match hint_for(&output) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        Err(error.detail(output))
    }

    async fn detect(&self, call: &Call) -> Result<ComposeProgram, EffectError> {
        for compose in [ComposeProgram::Plugin, ComposeProgram::Standalone] {
            let mut subprocess = compose.command(vec!["version".into()]);
            subprocess.timeout = DETECT_TIMEOUT;
            match subprocess.run(call, self.clock.as_ref()).await {
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

/// Returns advice for a known message of the program. Nothing else depends on its messages.
fn hint_for(output: &str) -> Option<&'static str> {
    if output.contains("port is already allocated") || output.contains("address already in use") {
        Some("see what uses the port: `docker ps`, `ss -ltnp`")
    } else if output.contains("pull access denied") || output.contains("No such image") {
        Some("build the image first (`build: true`), or check its name and `docker login`")
    } else {
        None
    }
}
