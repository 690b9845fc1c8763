//! Output of a session while an input runs: one line for each change, and the messages of the script. Reads run events.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::base::seq::Seq;
use crate::gateway::ledger::Listener;
use crate::journal::entry::{Entry, EntryAccess, Intent, Level, RunEvent};
use crate::report::layout::{Paint, Tone, fit, one_line, safe_lines, took};
use std::sync::Arc;

/// Columns reserved for the duration.
const DURATION_WIDTH: usize = 12;

/// Returns a listener that writes messages to `talk` and the output of `print` to `data`.
pub fn session_reporter(
    width: usize,
    colour: bool,
    talk: Box<dyn Write + Send>,
    data: Box<dyn Write + Send>,
) -> Listener {
    let reporter = Mutex::new(SessionReporter { width, paint: Paint { colour }, talk, data, running: BTreeMap::new() });
    Arc::new(move |event: &RunEvent| reporter.lock().unwrap_or_else(PoisonError::into_inner).report(event))
}

struct SessionReporter {
    width: usize,
    paint: Paint,
    talk: Box<dyn Write + Send>,
    data: Box<dyn Write + Send>,
    running: BTreeMap<Seq, Intent>,
}

impl SessionReporter {
    fn report(&mut self, event: &RunEvent) {
        let RunEvent::Recorded(record) = event else { return };
        match &record.entry {
            Entry::Intended { intent } => {
                self.running.insert(intent.seq.clone(), intent.as_ref().clone());
            }
            Entry::Completed { seq, elapsed_ms, .. } => {
                if let Some(intent) = self.running.remove(seq)
                    && intent.access == EntryAccess::Write
                {
                    let (sign, tone) = if intent.undoes.is_some() { ("↶", Tone::Undo) } else { ("✓", Tone::Good) };
                    let what = one_line(&format!("{} {}", intent.kind, intent.subject));
                    let what = fit(&what, self.width.saturating_sub(DURATION_WIDTH)).into_owned();
                    let time = self.paint.on(Tone::Quiet, &took(*elapsed_ms));
                    self.write_line(&format!("{} {what}  {time}", self.paint.on(tone, sign)));
                }
            }
            // The session reports the error itself.
            Entry::Failed { seq, .. } => drop(self.running.remove(seq)),
            Entry::Logged { level: Level::Print, text, .. } => {
                for line in safe_lines(text) {
                    drop(writeln!(self.data, "{line}"));
                }
                drop(self.data.flush());
            }
            Entry::Logged { level, text, .. } => {
                let (sign, tone) = if *level == Level::Info { ("•", Tone::Quiet) } else { ("!", Tone::Warn) };
                for line in safe_lines(text) {
                    self.write_line(&format!("{} {line}", self.paint.on(tone, sign)));
                }
            }
            _ => {}
        }
    }

    fn write_line(&mut self, line: &str) {
        // A closed stream loses only messages.
        drop(writeln!(self.talk, "{line}"));
    }
}
