//! `docker_exec` and `docker_wait`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ContainerOutcome;
use crate::base::byte_size::ByteSize;
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::exec::{self, DEFAULT_OUTPUT_LIMIT, ProgramResult};
use crate::effect::facts::GRACE;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, Trace, Verdict};

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
    /// States that doing it twice does no harm: a run that was killed meanwhile does it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// A command that ends with 0 once this one was done: what a run that was killed meanwhile asks.
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

impl Facts for ExecInContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        match (self.idempotent, self.done_when.is_empty()) {
            (true, _) => Recovery::Repeat,
            (false, false) => Recovery::Observe,
            (false, true) => Recovery::Ask,
        }
    }

    fn evidence(&self) -> Option<Effect> {
        let check = Self { command: self.done_when.clone(), check: false, done_when: Vec::new(), ..self.clone() };
        (!self.done_when.is_empty()).then(|| check.into())
    }

    fn verdict(&self, _: Trace<'_>, evidence: &Outcome) -> Verdict {
        match evidence {
            Outcome::Container(ContainerOutcome::Exec(result)) if result.exit_code == 0 => {
                self.taken_as_done().map_or(Verdict::Not, Verdict::happened)
            }
            _ => Verdict::Not,
        }
    }

    fn taken_as_done(&self) -> Option<Outcome> {
        Some(Outcome::Container(ContainerOutcome::Exec(ProgramResult::default())))
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        format!("{}: {}", self.container, exec::command_line(&self.command))
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
