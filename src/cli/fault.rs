//! What ends a verb before or instead of a run.

use miette::Report;

use crate::journal::JournalError;
use crate::script::diagnostic::ScriptDiagnostic;

/// An error with the code that the process exits with.
#[derive(Debug)]
pub struct Fault {
    report: Report,
    exit_code: u8,
}

impl Fault {
    /// Usage, configuration or script error; nothing was touched.
    pub fn usage(report: impl Into<Report>) -> Self {
        Self { report: report.into(), exit_code: 2 }
    }

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

impl From<Report> for Fault {
    fn from(report: Report) -> Self {
        Self::usage(report)
    }
}

impl From<JournalError> for Fault {
    fn from(error: JournalError) -> Self {
        Self::usage(error)
    }
}

impl From<Box<ScriptDiagnostic>> for Fault {
    fn from(diagnostic: Box<ScriptDiagnostic>) -> Self {
        Self::usage(Report::from(*diagnostic))
    }
}
