//! Containers: run, create, start, stop, kill, remove, rename, inspect, list, logs, exec, wait.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exec::{DEFAULT_OUTPUT_LIMIT, ProgramResult};
use super::facts::GRACE;
use super::family::family;
use super::{Access, Effect, Facts, Outcome, Recovery, Request, Undo};
use crate::base::byte_size::ByteSize;
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::base::mount::Mount;
use crate::base::port_mapping::{PortMapping, Protocol};
use crate::base::text::Text;

/// Docker's own default: `docker stop` waits 10 s before SIGKILL.
pub const DEFAULT_STOP_GRACE: DurationText = DurationText::secs(10);
/// Lines of log that `docker_logs` returns, and that errors show.
pub const DEFAULT_LOG_LINES: u64 = 100;

family! {
    /// What can be asked of containers.
    Container: ContainerEffect => ContainerOutcome {
        Run(RunContainer),
        Create(CreateContainer),
        Start(StartContainer),
        Stop(StopContainer),
        Kill(KillContainer),
        Remove(RemoveContainer),
        Rename(RenameContainer),
        Inspect(InspectContainer),
        List(ListContainers),
        Logs(ReadLogs),
        Exec(ExecInContainer),
        Wait(WaitContainer),
    }
}

/// How a container is made. Keys are those of a compose file's service where one exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Mount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Other names of the container on its networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Runs a tiny init as process 1, which passes signals on and reaps children.
    #[serde(default)]
    pub init: bool,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The service that the container belongs to: becomes the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its part in the deploy: becomes the label `deployer.role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A container to take everything from that is not given here. Its environment stays in the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<ContainerRef>,
}

impl ContainerSpec {
    /// This with what it leaves open taken from `model`, the container that `like` names. The image's own settings
    /// belong to the image, and deployer's labels to whoever makes the container.
    #[must_use]
    pub fn filled_from(mut self, model: &Self) -> Self {
        fn list<T: Clone>(own: &mut Vec<T>, model: &[T]) {
            if own.is_empty() {
                own.extend_from_slice(model);
            }
        }
        fn one<T: Clone>(own: &mut Option<T>, model: &Option<T>) {
            if own.is_none() {
                own.clone_from(model);
            }
        }
        fn map<T: Clone>(own: &mut BTreeMap<String, T>, model: &BTreeMap<String, T>) {
            for (key, value) in model {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        self.like = None;
        one(&mut self.command, &model.command);
        one(&mut self.entrypoint, &model.entrypoint);
        map(&mut self.environment, &model.environment);
        list(&mut self.ports, &model.ports);
        list(&mut self.volumes, &model.volumes);
        list(&mut self.networks, &model.networks);
        list(&mut self.aliases, &model.aliases);
        if self.restart == RestartPolicy::No {
            self.restart = model.restart.clone();
        }
        one(&mut self.mem_limit, &model.mem_limit);
        one(&mut self.cpus, &model.cpus);
        one(&mut self.healthcheck, &model.healthcheck);
        map(&mut self.labels, &model.labels);
        one(&mut self.user, &model.user);
        one(&mut self.working_dir, &model.working_dir);
        one(&mut self.hostname, &model.hostname);
        self.init |= model.init;
        self.read_only |= model.read_only;
        list(&mut self.extra_hosts, &model.extra_hosts);
        one(&mut self.stop_signal, &model.stop_signal);
        one(&mut self.service, &model.service);
        one(&mut self.role, &model.role);
        self
    }

    /// The labels to write: the script's own and deployer's.
    pub fn all_labels(&self, own: impl IntoIterator<Item = (&'static str, String)>) -> BTreeMap<String, String> {
        let mut all = self.labels.clone();
        all.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        all.extend(self.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        all.extend(self.role.iter().map(|role| (labels::ROLE.to_owned(), role.clone())));
        all
    }
}

/// When the engine starts a container again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    OnFailure {
        /// 0 is without a bound.
        attempts: u32,
    },
}

impl TryFrom<String> for RestartPolicy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "no" | "" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => Ok(Self::OnFailure { attempts: 0 }),
            other => other
                .strip_prefix("on-failure:")
                .and_then(|attempts| attempts.parse().ok())
                .map(|attempts| Self::OnFailure { attempts })
                .ok_or_else(|| {
                    format!("`{other}` is not a restart policy: use `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`")
                }),
        }
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        match policy {
            RestartPolicy::No => "no".into(),
            RestartPolicy::Always => "always".into(),
            RestartPolicy::UnlessStopped => "unless-stopped".into(),
            RestartPolicy::OnFailure { attempts: 0 } => "on-failure".into(),
            RestartPolicy::OnFailure { attempts } => format!("on-failure:{attempts}"),
        }
    }
}

/// The engine's own health check, as in a compose file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["CMD", "curl", ...]` or `["CMD-SHELL", "..."]`; a list that starts with neither is taken as `CMD`.
    pub test: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<DurationText>,
}

/// A container as scripts see it. Environment values are left out: they may be secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The image's name as it was asked for.
    pub image: String,
    pub image_id: String,
    pub state: ContainerState,
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// `starting`, `healthy`, `unhealthy`; none without a health check.
    #[serde(default)]
    pub health: Option<String>,
    #[serde(default)]
    pub oom_killed: bool,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub started_at: Option<String>,
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub mounts: Vec<String>,
    /// Names of the networks and the container's address there.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
    /// Names of the environment variables.
    #[serde(default)]
    pub environment: Vec<String>,
}

impl Container {
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting | ContainerState::Paused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// A port as the engine published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub address: String,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

/// `docker_run`: creates and starts a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunContainer(pub ContainerSpec);

/// `docker_create`: creates a container and leaves it stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CreateContainer(pub ContainerSpec);

fn remove_again(name: &str) -> Undo {
    Undo::by(RemoveContainer {
        container: name.into(),
        force: true,
        volumes: true,
        missing_ok: true,
        disposable: true,
        only_own: true,
    })
}

impl Facts for RunContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        remove_again(&self.0.name)
    }

    fn subject(&self) -> String {
        format!("{} ({})", self.0.name, self.0.image)
    }
}

impl Request for RunContainer {
    const KIND: &'static str = "docker_run";
    type Reply = Container;
}

impl Facts for CreateContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        remove_again(&self.0.name)
    }

    fn subject(&self) -> String {
        format!("{} ({})", self.0.name, self.0.image)
    }
}

impl Request for CreateContainer {
    const KIND: &'static str = "docker_create";
    type Reply = Container;
}

/// `docker_start`: starts a stopped container. A running one is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartContainer {
    pub container: ContainerRef,
}

impl Facts for StartContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match prior_container(prior) {
            Some(container) if container.is_running() => Undo::Nothing,
            _ => Undo::by(StopContainer {
                container: self.container.clone(),
                grace: DEFAULT_STOP_GRACE,
                signal: None,
                missing_ok: true,
            }),
        }
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for StartContainer {
    const KIND: &'static str = "docker_start";
    type Reply = Container;
}

/// `docker_stop`: asks the container to end, and kills it when `grace` is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopContainer {
    pub container: ContainerRef,
    /// Time between the signal and SIGKILL. Default 10 s.
    #[serde(default = "default_stop_grace")]
    pub grace: DurationText,
    /// Default: the image's stop signal, else SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    #[serde(default)]
    pub missing_ok: bool,
}

fn default_stop_grace() -> DurationText {
    DEFAULT_STOP_GRACE
}

fn prior_container(prior: Option<&Outcome>) -> Option<&Container> {
    match prior {
        Some(Outcome::Container(ContainerOutcome::Inspect(container))) => container.as_ref(),
        _ => None,
    }
}

/// Starts it again if it ran before.
fn start_again(container: &ContainerRef, prior: Option<&Outcome>) -> Undo {
    match prior_container(prior) {
        Some(found) if found.is_running() => Undo::by(StartContainer { container: container.clone() }),
        _ => Undo::Nothing,
    }
}

impl Facts for StopContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.grace.0 + GRACE
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        start_again(&self.container, prior)
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for StopContainer {
    const KIND: &'static str = "docker_stop";
    type Reply = Stopped;
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// None when there was no such container and that was allowed.
    pub exit_code: Option<i64>,
    /// Whether it had to be killed because the grace was over.
    pub killed: bool,
}

/// `docker_kill`: sends a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KillContainer {
    pub container: ContainerRef,
    #[serde(default = "default_kill_signal")]
    pub signal: String,
}

fn default_kill_signal() -> String {
    "SIGKILL".into()
}

impl Facts for KillContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        start_again(&self.container, prior)
    }

    fn subject(&self) -> String {
        format!("{} {}", self.container, self.signal)
    }
}

impl Request for KillContainer {
    const KIND: &'static str = "docker_kill";
    type Reply = ();
}

/// `docker_remove`: removes a container and its anonymous volumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveContainer {
    pub container: ContainerRef,
    /// Kills a running one first.
    #[serde(default)]
    pub force: bool,
    /// Removes its anonymous volumes too; named ones always stay. Default true.
    #[serde(default = "yes")]
    pub volumes: bool,
    #[serde(default)]
    pub missing_ok: bool,
    /// States that nobody will miss it: the run can be taken back without it.
    #[serde(default)]
    pub disposable: bool,
    /// Removes it only if this very run created it; what the undo of `docker_run` asks for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_own: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(truth: &bool) -> bool {
    !truth
}

impl Facts for RemoveContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        (!self.disposable).then(|| InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        if self.disposable {
            return Undo::Nothing;
        }
        prior_container(prior).map_or(Undo::Nothing, |container| Undo::ImpossibleUnlessOwn {
            maker: container.labels.get(labels::RUN).cloned(),
            why: format!(
                "container `{}` was removed and its own files with it; start a new one: docker run -d --name {} {}",
                container.name, container.name, container.image
            ),
        })
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for RemoveContainer {
    const KIND: &'static str = "docker_remove";
    type Reply = Removed;
}

/// Whether there was anything to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub removed: bool,
}

/// `docker_rename`: gives a container another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenameContainer {
    pub container: ContainerRef,
    pub name: String,
}

impl Facts for RenameContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        prior_container(prior).map_or(Undo::Nothing, |container| {
            Undo::by(Self { container: ContainerRef::new(container.id.clone()), name: container.name.clone() })
        })
    }

    fn subject(&self) -> String {
        format!("{} -> {}", self.container, self.name)
    }
}

impl Request for RenameContainer {
    const KIND: &'static str = "docker_rename";
    type Reply = Container;
}

/// `docker_inspect`: one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InspectContainer {
    pub container: ContainerRef,
    /// Returns `()` instead of failing when there is none.
    #[serde(default)]
    pub missing_ok: bool,
}

impl Facts for InspectContainer {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for InspectContainer {
    const KIND: &'static str = "docker_inspect";
    type Reply = Option<Container>;
}

/// `docker_list`: containers, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListContainers {
    /// Stopped ones too. Default: only running ones.
    #[serde(default)]
    pub all: bool,
    /// Only the one with exactly this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those made from this image (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Only those that carry all of these labels; an empty value asks for the key alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Shorthand for the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Shorthand for the label `deployer.role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl ListContainers {
    /// All the labels asked for, shorthands included.
    pub fn wanted_labels(&self) -> BTreeMap<String, String> {
        let mut wanted = self.labels.clone();
        wanted.extend(self.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        wanted.extend(self.role.iter().map(|role| (labels::ROLE.to_owned(), role.clone())));
        wanted
    }
}

impl Facts for ListContainers {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone().or_else(|| self.service.clone()).unwrap_or_default()
    }
}

impl Request for ListContainers {
    const KIND: &'static str = "docker_list";
    type Reply = Vec<Container>;
}

/// `docker_logs`: the last lines that a container wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadLogs {
    pub container: ContainerRef,
    /// Default 100.
    #[serde(default = "default_log_lines")]
    pub tail: u64,
}

fn default_log_lines() -> u64 {
    DEFAULT_LOG_LINES
}

impl Facts for ReadLogs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for ReadLogs {
    const KIND: &'static str = "docker_logs";
    type Reply = Logs;
}

/// Lines of a container's log, oldest first, output and errors together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub lines: Vec<String>,
}

/// `docker_exec`: runs a program inside a running container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecInContainer {
    pub container: ContainerRef,
    pub command: Vec<Text>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Default 60 s.
    #[serde(default = "default_exec_timeout")]
    pub timeout: DurationText,
    /// Fails when the program ends with another code than 0. Default true.
    #[serde(default = "yes")]
    pub check: bool,
    /// Bytes kept of each stream; the end is kept. Default 64 KiB.
    #[serde(default = "default_output_limit")]
    pub output_limit: ByteSize,
}

fn default_exec_timeout() -> DurationText {
    super::exec::DEFAULT_TIMEOUT
}

fn default_output_limit() -> ByteSize {
    DEFAULT_OUTPUT_LIMIT
}

impl Facts for ExecInContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Ask
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        format!("{}: {}", self.container, super::exec::command_line(&self.command))
    }
}

impl Request for ExecInContainer {
    const KIND: &'static str = "docker_exec";
    type Reply = ProgramResult;
}

/// `docker_wait`: waits until a container ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitContainer {
    pub container: ContainerRef,
    /// Default 5 min.
    #[serde(default = "default_wait_timeout")]
    pub timeout: DurationText,
}

fn default_wait_timeout() -> DurationText {
    DurationText::secs(300)
}

impl Facts for WaitContainer {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for WaitContainer {
    const KIND: &'static str = "docker_wait";
    type Reply = Ended;
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub exit_code: i64,
}
