//! The output of the pretty reporter: lines that stay and, on a live terminal, lines below them that move.

use super::ansi_term::SharedWriter;
use super::live_area::LiveArea;
use super::{DisplayOptions, Output};

pub struct Screen {
    data: SharedWriter,
    talk: SharedWriter,
    live: Option<LiveArea>,
}

impl Screen {
    pub fn new(display: DisplayOptions, output: Output) -> Self {
        let talk = SharedWriter::new(output.talk);
        let live = display.live.then(|| LiveArea::new(display, talk.clone()));
        Self { data: SharedWriter::new(output.data), talk, live }
    }

    /// Writes a line that stays.
    pub fn say(&self, line: &str) {
        self.write(&self.talk, line);
    }

    /// Writes what the script prints.
    pub fn print(&self, text: &str) {
        self.write(&self.data, text);
    }

    /// Returns the lines that move, if there are any.
    pub fn live(&mut self) -> Option<&mut LiveArea> {
        self.live.as_mut()
    }

    fn write(&self, writer: &SharedWriter, text: &str) {
        let write = || writer.write(&format!("{text}\n"));
        let written = match &self.live {
            Some(live) => live.aside(write),
            None => write(),
        };
        // A deploy continues when its reader has gone; the journal has everything.
        drop(written);
    }
}
