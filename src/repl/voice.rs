//! What a session tells while something happens: each change on a line, and what the script says. Reads events.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::base::seq::Seq;
use crate::gateway::ledger::Listener;
use crate::journal::entry::{Entry, EntryAccess, Intent, Level, RunEvent};
use crate::report::layout::{Paint, Tone, fit, one_line, safe_lines, took};
use std::sync::Arc;

/// Columns that stay free for the duration.
const TIME: usize = 12;

/// A listener that tells people on `talk`, and what the script prints on `data`.
pub fn voice(width: usize, colour: bool, talk: Box<dyn Write + Send>, data: Box<dyn Write + Send>) -> Listener {
    let told = Mutex::new(Voice { width, paint: Paint { colour }, talk, data, under_way: BTreeMap::new() });
    Arc::new(move |event: &RunEvent| told.lock().unwrap_or_else(PoisonError::into_inner).hear(event))
}

struct Voice {
    width: usize,
    paint: Paint,
    talk: Box<dyn Write + Send>,
    data: Box<dyn Write + Send>,
    under_way: BTreeMap<Seq, Intent>,
}

impl Voice {
    fn hear(&mut self, event: &RunEvent) {
        let RunEvent::Recorded(record) = event else { return };
        match &record.entry {
            Entry::Intended { intent } => {
                self.under_way.insert(intent.seq.clone(), intent.as_ref().clone());
            }
            Entry::Completed { seq, elapsed_ms, .. } => {
                if let Some(intent) = self.under_way.remove(seq)
                    && intent.access == EntryAccess::Write
                {
                    let (sign, tone) = if intent.undoes.is_some() { ("↶", Tone::Undo) } else { ("✓", Tone::Good) };
                    let what = one_line(&format!("{} {}", intent.kind, intent.subject));
                    let what = fit(&what, self.width.saturating_sub(TIME)).into_owned();
                    let time = self.paint.on(Tone::Quiet, &took(*elapsed_ms));
                    self.say(&format!("{} {what}  {time}", self.paint.on(tone, sign)));
                }
            }
            // The error itself is told by whoever asked.
            Entry::Failed { seq, .. } => drop(self.under_way.remove(seq)),
            Entry::Logged { level: Level::Print, text, .. } => {
                for line in safe_lines(text) {
                    drop(writeln!(self.data, "{line}"));
                }
                drop(self.data.flush());
            }
            Entry::Logged { level, text, .. } => {
                let (sign, tone) = if *level == Level::Info { ("•", Tone::Quiet) } else { ("!", Tone::Warn) };
                for line in safe_lines(text) {
                    self.say(&format!("{} {line}", self.paint.on(tone, sign)));
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, line: &str) {
        // Whoever listens no more misses nothing but talk.
        drop(writeln!(self.talk, "{line}"));
    }
}
