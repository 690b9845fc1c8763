//! `--format` for commands that print data, and the earlier spelling `--json`.

use std::io::IsTerminal;

use clap::Args;

use super::terminal;
use crate::report::Format;

/// The output format of a command that prints data.
#[derive(Clone, Copy, Debug, Args)]
pub struct FormatArgs {
    /// Output format [default: pretty on a terminal, else plain]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

impl FormatArgs {
    /// Returns the given format, or the default for standard output.
    pub fn format(self) -> Format {
        format_or_default(self.format)
    }

    /// Returns the format if it was given.
    pub fn given(self) -> Option<Format> {
        self.format
    }

    pub fn is_json(self) -> bool {
        self.format == Some(Format::Json)
    }
}

/// The same for commands that once had `--json`.
#[derive(Clone, Copy, Debug, Args)]
pub struct FormatOrJsonArgs {
    /// Output format [default: pretty on a terminal, else plain]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The earlier spelling of `--format json`
    #[arg(long, hide = true, conflicts_with = "format")]
    json: bool,
}

impl FormatOrJsonArgs {
    /// Returns whether JSON was asked for. Warns about the earlier spelling.
    pub fn is_json(self) -> bool {
        if self.json {
            terminal::say("warning: `--json` will be removed in the next version: use `--format json`");
        }
        self.json || self.format == Some(Format::Json)
    }
}

/// Returns `given`, or the default for standard output.
pub fn format_or_default(given: Option<Format>) -> Format {
    given.unwrap_or(if std::io::stdout().is_terminal() { Format::Pretty } else { Format::Plain })
}
