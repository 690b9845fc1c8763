//! The faces of a run: whoever shows its events. The same code draws a run live and later from the journal.
//! Reads [`RunEvent`]s and writes text; knows no world, no store, no environment and no clock.

mod ansi_term;
mod changes;
pub mod garbage;
pub mod history;
mod json_face;
pub mod layout;
mod live_area;
mod plain_face;
mod pretty_face;
mod screen;
pub mod standing;
pub mod summary;
pub mod timeline;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::io::Write;

use clap::ValueEnum;

use crate::journal::entry::RunEvent;
use json_face::JsonFace;
use plain_face::PlainFace;
use pretty_face::PrettyFace;

/// Shows the events of one run, in order.
pub trait Face: Send {
    fn show(&mut self, event: &RunEvent);

    /// Nothing more will come: takes what moves off the screen, and tells what has no end.
    fn finish(&mut self);
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people at a terminal: live timers and progress, one line per finished step
    Pretty,
    /// For logs: one line per fact, nothing moves
    Plain,
    /// For programs: one JSON object a line, see docs/events.md
    Json,
}

/// What the output can bear. Facts about the terminal, found by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// The run happens now, on a terminal whose lines can be drawn again. False: final lines only.
    pub live: bool,
    /// Every effect, reads too.
    pub verbose: bool,
}

/// Where text goes.
pub struct Output {
    /// What programs read: JSON lines, and what the script prints. Standard output.
    pub data: Box<dyn Write + Send>,
    /// What people read. Standard error.
    pub talk: Box<dyn Write + Send>,
}

/// The face of that format.
pub fn face(format: Format, look: Look, output: Output) -> Box<dyn Face> {
    match format {
        Format::Pretty => Box::new(PrettyFace::new(look, output)),
        Format::Plain => Box::new(PlainFace::new(look, output)),
        Format::Json => Box::new(JsonFace::new(output)),
    }
}
