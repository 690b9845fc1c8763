//! The error type of commands.

use miette::Report;

use crate::effect::EffectError;
use crate::journal::JournalError;
use crate::script::diagnostic::{ScriptDiagnostic, effect_diagnostic};

/// An error with the exit code of the process.
#[derive(Debug)]
pub struct CommandError {
    report: Report,
    exit_code: u8,
}

impl CommandError {
    /// Returns a usage, configuration or script error (exit code 2): nothing was changed.
    pub fn usage(report: impl Into<Report>) -> Self {
        Self { report: report.into(), exit_code: 2 }
    }

    /// Sets another exit code.
    pub fn with_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    pub fn report(&self) -> &Report {
        &self.report
    }

    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl From<Report> for CommandError {
    fn from(report: Report) -> Self {
        Self::usage(report)
    }
}

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> Self {
        Self::usage(error)
    }
}

impl From<Box<ScriptDiagnostic>> for CommandError {
    fn from(diagnostic: Box<ScriptDiagnostic>) -> Self {
        Self::usage(Report::from(*diagnostic))
    }
}

impl From<EffectError> for CommandError {
    fn from(error: EffectError) -> Self {
        Self::usage(Report::new(effect_diagnostic(&error)))
    }
}
