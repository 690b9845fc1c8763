//! `docker_exec` and `docker_wait`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ContainerOutcome;
use crate::base::byte_size::ByteSize;
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::exec::{self, DEFAULT_OUTPUT_LIMIT, ProgramResult};
use crate::effect::request::request;
use crate::effect::{Effect, Observation, Outcome, PendingEffect};

/// `docker_exec`: runs a program inside a running container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecInContainer {
    /// The container.
    pub container: ContainerRef,
    /// The program and its arguments.
    pub command: Vec<Text>,
    /// Environment variables to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    /// The user to run as. Default: the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The working directory. Default: the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Default 60 s.
    #[serde(default = "default_exec_timeout")]
    pub timeout: DurationText,
    /// Fails if the program exits with a code other than 0. Default true.
    #[serde(default = "yes")]
    pub check: bool,
    /// Bytes kept of each stream, from its end. Default 64 KiB.
    #[serde(default = "default_output_limit")]
    pub output_limit: ByteSize,
    /// States that running it twice does no harm: a resumed run runs it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// A command that exits with 0 once this one was done; a resumed run runs it to find out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done_when: Vec<Text>,
}

fn yes() -> bool {
    true
}

fn default_exec_timeout() -> DurationText {
    exec::DEFAULT_TIMEOUT
}

fn default_output_limit() -> ByteSize {
    DEFAULT_OUTPUT_LIMIT
}

request! {
    ExecInContainer {
        kind: "docker_exec",
        reply: ProgramResult,
        access: Write,
        recovery: |exec| exec::program_recovery(exec.idempotent, &exec.done_when),
        deadline: timeout,
        interruptible: true,
        subject: |exec| format!("{}: {}", exec.container, exec::command_line(&exec.command)),
        evidence: Self::check_when_done,
        observe: Self::observe_from,
        assumed_outcome: |_| Some(Self::assumed_success()),
    }
}

impl ExecInContainer {
    fn assumed_success() -> Outcome {
        Outcome::Container(ContainerOutcome::Exec(ProgramResult::default()))
    }

    fn check_when_done(&self) -> Option<Effect> {
        let check = Self { command: self.done_when.clone(), check: false, done_when: Vec::new(), ..self.clone() };
        (!self.done_when.is_empty()).then(|| check.into())
    }

    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        match evidence {
            Outcome::Container(ContainerOutcome::Exec(result)) if result.exit_code == 0 => {
                Observation::done(Self::assumed_success())
            }
            _ => Observation::NotDone,
        }
    }
}

/// `docker_wait`: waits until a container exits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitContainer {
    /// The container.
    pub container: ContainerRef,
    /// Default 5 min.
    #[serde(default = "default_wait_timeout")]
    pub timeout: DurationText,
}

fn default_wait_timeout() -> DurationText {
    DurationText::secs(300)
}

request! {
    WaitContainer {
        kind: "docker_wait",
        reply: Ended,
        access: Read,
        deadline: timeout,
        subject: container,
    }
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The exit code of its main process.
    pub exit_code: i64,
}
