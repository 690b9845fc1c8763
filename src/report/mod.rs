//! Reporters show the events of a run. The same code shows a run live and later from the journal.
//! Reads [`RunEvent`]s and writes text; knows no world, no store, no environment and no clock.

mod ansi_term;
mod changes;
pub mod garbage;
pub mod history;
mod json_reporter;
pub mod layout;
mod live_area;
mod plain_reporter;
mod pretty_reporter;
mod screen;
pub mod service_status;
mod summary;
pub mod table;
mod timeline;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::io::Write;

use clap::ValueEnum;

use crate::journal::entry::RunEvent;
use json_reporter::JsonReporter;
use plain_reporter::PlainReporter;
use pretty_reporter::PrettyReporter;

/// Shows the events of one run, in order.
pub trait Reporter: Send {
    /// Shows one event.
    fn show(&mut self, event: &RunEvent);

    /// Ends the report: removes live lines from the screen, and shows effects that have not ended.
    fn finish(&mut self);
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people at a terminal: live timers and progress, one line per finished step
    Pretty,
    /// For logs: one line per fact, nothing moves
    Plain,
    /// For programs: one JSON object a line, see docs/src/events.md
    Json,
}

/// How to display a run. The caller finds out what the terminal supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayOptions {
    /// Use colours.
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// The run happens now, on a terminal whose lines can be redrawn. Otherwise only final lines are written.
    pub live: bool,
    /// Show every effect, reads included.
    pub verbose: bool,
    /// The journal is deleted after the run, so the summary must not name commands that read it.
    pub temporary: bool,
}

/// Where text goes.
pub struct Output {
    /// What programs read: JSON lines, and what the script prints. Usually standard output.
    pub data: Box<dyn Write + Send>,
    /// What people read. Usually standard error.
    pub talk: Box<dyn Write + Send>,
}

/// Creates the reporter for a format.
pub fn reporter(format: Format, display: DisplayOptions, output: Output) -> Box<dyn Reporter> {
    match format {
        Format::Pretty => Box::new(PrettyReporter::new(display, output)),
        Format::Plain => Box::new(PlainReporter::new(display, output)),
        Format::Json => Box::new(JsonReporter::new(output)),
    }
}
