//! Programs on the machine that runs deployer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::category::category;
use super::error::RAISE_TIMEOUT;
use super::request::request;
use super::{Effect, EffectError, EffectSpec, ErrorKind, Observation, Outcome, PendingEffect, Recovery};
use crate::base::byte_size::ByteSize;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// How long a program may run by default.
pub const DEFAULT_TIMEOUT: DurationText = DurationText::secs(60);
/// Bytes kept of each of a program's output streams by default.
pub const DEFAULT_OUTPUT_LIMIT: ByteSize = ByteSize(64 << 10);

category! {
    /// Actions with programs.
    Exec: ExecEffect => ExecOutcome {
        Run(Exec),
    }
}

/// `exec`: runs a program with arguments. No shell interprets them unless `shell` is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Text>,
    /// A line for `/bin/sh -c`, instead of `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Text>,
    /// The working directory. Default: deployer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment variables to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    /// Text for its standard input. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Text>,
    /// Default 60 s. After that the program and its children are killed.
    #[serde(default = "default_timeout")]
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

fn default_timeout() -> DurationText {
    DEFAULT_TIMEOUT
}

fn default_output_limit() -> ByteSize {
    DEFAULT_OUTPUT_LIMIT
}

fn yes() -> bool {
    true
}

/// Returns a command as one line to read, not for a shell.
pub fn command_line(command: &[Text]) -> String {
    command.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Returns the error for a program that did not end in time; `label` names it, with backticks.
pub fn program_timed_out(label: &str, timeout: DurationText) -> EffectError {
    EffectError::timed_out(&label, timeout).hint(RAISE_TIMEOUT)
}

/// Returns the error for a program that failed; `label` names it, with backticks.
pub fn program_failed(label: &str, exit_code: i64) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("{label} ended with exit code {exit_code}"))
}

/// Returns the error for a program that is not installed.
pub fn program_not_found(program: &str) -> EffectError {
    EffectError::new(ErrorKind::MissingTool, format!("program `{program}` not found"))
        .hint(format!("install `{program}` on the machine that runs deployer, or give its full path"))
        .not_applied()
}

/// Returns what to do when it is not known whether a program ran.
pub(super) fn program_recovery(idempotent: bool, done_when: &[Text]) -> Recovery {
    match (idempotent, done_when.is_empty()) {
        (true, _) => Recovery::Repeat,
        (false, false) => Recovery::Observe,
        (false, true) => Recovery::Ask,
    }
}

request! {
    Exec {
        kind: "exec",
        reply: ProgramResult,
        access: Write,
        recovery: |exec| program_recovery(exec.idempotent, &exec.done_when),
        deadline: timeout,
        interruptible: true,
        subject: |exec| exec.shell.as_ref().map_or_else(|| command_line(&exec.command), ToString::to_string),
        evidence: Self::check_when_done,
        observe: Self::observe_from,
        assumed_outcome: |_| Some(Self::assumed_success()),
    }
}

impl Exec {
    /// Checks that either `command` or `shell` is given.
    ///
    /// # Errors
    /// Fails if both are given, or neither.
    pub fn validate(&self) -> Result<(), EffectError> {
        match (self.command.is_empty(), &self.shell) {
            (true, None) => Err(EffectError::invalid("give `command` or `shell`")),
            (false, Some(_)) => Err(EffectError::invalid("`command` and `shell` cannot both be given")),
            _ => Ok(()),
        }
    }

    /// Returns the error for a program that did not end in time.
    pub fn timed_out(&self) -> EffectError {
        program_timed_out(&format!("`{}`", self.subject()), self.timeout)
    }

    /// Returns the error for a program that failed.
    pub fn failed(&self, exit_code: i64) -> EffectError {
        program_failed(&format!("`{}`", self.subject()), exit_code)
    }

    fn assumed_success() -> Outcome {
        Outcome::Exec(ExecOutcome::Run(ProgramResult::default()))
    }

    fn check_when_done(&self) -> Option<Effect> {
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

    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        match evidence {
            Outcome::Exec(ExecOutcome::Run(result)) if result.exit_code == 0 => {
                Observation::done(Self::assumed_success())
            }
            _ => Observation::NotDone,
        }
    }
}

/// The result of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramResult {
    /// The exit code; 128 plus the signal's number if a signal ended it.
    pub exit_code: i64,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
    /// Whether it wrote more than `output_limit`.
    pub truncated: bool,
}
