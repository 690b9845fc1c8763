//! Where the pretty face writes: lines that stay, and below them, on a live terminal, lines that move.

use super::ansi_term::SharedWriter;
use super::live_area::LiveArea;
use super::{Look, Output};

pub struct Screen {
    data: SharedWriter,
    talk: SharedWriter,
    live: Option<LiveArea>,
}

impl Screen {
    pub fn new(look: Look, output: Output) -> Self {
        let talk = SharedWriter::new(output.talk);
        let live = look.live.then(|| LiveArea::new(look, talk.clone()));
        Self { data: SharedWriter::new(output.data), talk, live }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        self.write(&self.talk, line);
    }

    /// What the script prints: data.
    pub fn print(&self, text: &str) {
        self.write(&self.data, text);
    }

    /// The lines that move, where there are any.
    pub fn live(&mut self) -> Option<&mut LiveArea> {
        self.live.as_mut()
    }

    fn write(&self, writer: &SharedWriter, text: &str) {
        let write = || writer.write(&format!("{text}\n"));
        let written = match &self.live {
            Some(live) => live.aside(write),
            None => write(),
        };
        // A deploy goes on when its reader has left; the journal has it all.
        drop(written);
    }
}
