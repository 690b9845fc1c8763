//! Programs on the machine that runs deployer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::GRACE;
use super::family::family;
use super::{Access, Effect, Facts, Outcome, Recovery, Request, Trace, Verdict};
use crate::base::byte_size::ByteSize;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

pub const DEFAULT_TIMEOUT: DurationText = DurationText::secs(60);
/// Bytes kept of each of a program's streams.
pub const DEFAULT_OUTPUT_LIMIT: ByteSize = ByteSize(64 << 10);

family! {
    /// What can be asked of programs.
    Exec: ExecEffect => ExecOutcome {
        Run(Exec),
    }
}

/// `exec`: runs a program with arguments. A shell reads nothing of it unless `shell` asks for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Text>,
    /// A line for `/bin/sh -c`, in place of `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Text>,
    /// Default 60 s; then the program and its children are killed.
    #[serde(default = "default_timeout")]
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

fn default_timeout() -> DurationText {
    DEFAULT_TIMEOUT
}

fn default_output_limit() -> ByteSize {
    DEFAULT_OUTPUT_LIMIT
}

fn yes() -> bool {
    true
}

/// A command as one line, for people: never for a shell.
pub fn command_line(command: &[Text]) -> String {
    command.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl Facts for Exec {
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
        let check = Self {
            command: self.done_when.clone(),
            shell: None,
            stdin: None,
            check: false,
            done_when: Vec::new(),
            ..self.clone()
        };
        (!self.done_when.is_empty()).then(|| check.into())
    }

    fn verdict(&self, _: Trace<'_>, evidence: &Outcome) -> Verdict {
        match evidence {
            Outcome::Exec(ExecOutcome::Run(result)) if result.exit_code == 0 => {
                self.taken_as_done().map_or(Verdict::Not, Verdict::happened)
            }
            _ => Verdict::Not,
        }
    }

    fn taken_as_done(&self) -> Option<Outcome> {
        Some(Outcome::Exec(ExecOutcome::Run(ProgramResult::default())))
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.shell.as_ref().map_or_else(|| command_line(&self.command), ToString::to_string)
    }
}

impl Request for Exec {
    const KIND: &'static str = "exec";
    type Reply = ProgramResult;
}

/// What a program left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramResult {
    /// 128 + the signal's number when a signal ended it.
    pub exit_code: i64,
    pub stdout: String,
    pub stderr: String,
    /// Whether more was written than `output_limit`.
    pub truncated: bool,
}
