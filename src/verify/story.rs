//! The timeline of a violation, in at most ten lines: what was done, what failed, what clients saw, when, and by which
//! script line.

use std::fmt::Write;

use super::judge::seconds;
use super::property::Finding;
use super::simulated_run::SimulatedRun;
use crate::base::site::Site;
use crate::effect::fault::FaultKind;
use crate::journal::entry::{Entry, EntryAccess, Intent, Purpose, Record};

/// Maximum number of lines.
const LINES: usize = 10;
/// Maximum width of a line.
const COLUMNS: usize = 110;

/// Which lines are kept when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Read,
    Undone,
    Done,
    Turn,
    Failed,
    Seen,
    Key,
}

struct Line {
    at_ms: u64,
    /// Keeps lines of the same instant in order.
    order: usize,
    worth: Worth,
    marked: bool,
    place: String,
    text: String,
}

/// Returns the timeline of a violation.
pub fn story(run: &SimulatedRun, finding: &Finding) -> Vec<String> {
    let mut lines = Vec::new();
    for (order, record) in run.records.iter().enumerate() {
        if let Some(line) = line_of(run, record, order * 2) {
            lines.push(line);
        }
        if record.n == run.written && run.attempt.crash().is_some() {
            lines.push(Line {
                at_ms: run.at_ms(record),
                order: order * 2 + 1,
                worth: Worth::Key,
                marked: true,
                place: String::new(),
                text: "the process is killed here".into(),
            });
        }
    }
    lines.extend(seen_by_clients(run));
    lines.sort_by_key(|line| (line.at_ms, line.order));
    let keep = worthiest(&lines, finding.at_ms);
    lines.iter().enumerate().filter(|(place, _)| keep.contains(place)).map(|(_, line)| shown(line)).collect()
}

fn worthiest(lines: &[Line], near_ms: Option<u64>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..lines.len()).collect();
    let near = near_ms.unwrap_or(u64::MAX / 2);
    places.sort_by_key(|place| {
        let line = &lines[*place];
        (std::cmp::Reverse((line.worth, line.marked)), line.at_ms.abs_diff(near), *place)
    });
    places.truncate(LINES);
    places
}

fn shown(line: &Line) -> String {
    let mark = if line.marked { '!' } else { ' ' };
    let mut text = String::new();
    let _ = write!(text, "{mark} {:>8}  {:<24} {}", seconds(line.at_ms), line.place, line.text);
    if text.chars().count() > COLUMNS {
        text = text.chars().take(COLUMNS - 3).chain("...".chars()).collect();
    }
    text
}

fn place(site: Option<&Site>) -> String {
    site.map(|site| format!("{}:{}", site.source.rsplit('/').next().unwrap_or_default(), site.line)).unwrap_or_default()
}

fn line_of(run: &SimulatedRun, record: &Record, order: usize) -> Option<Line> {
    let at_ms = run.at_ms(record);
    let key = |text: String| Some(Line { at_ms, order, worth: Worth::Key, marked: false, place: String::new(), text });
    let turn =
        |text: String| Some(Line { at_ms, order, worth: Worth::Turn, marked: false, place: String::new(), text });
    match &record.entry {
        Entry::Intended { intent } => effect_line(run, record, intent, order),
        Entry::RunReopened { purpose, .. } => key(match purpose {
            Purpose::Resume => "the run is resumed".into(),
            Purpose::Abort => "the run is aborted".into(),
        }),
        Entry::Committed { .. } => turn("commit: the point of no return".into()),
        Entry::RollbackStarted { reason } => turn(format!("rolling back: {reason}")),
        Entry::RunEnded { end } => key(match &end.error {
            Some(error) => format!("the run ends `{}` (exit {}): {error}", end.status, end.exit_code),
            None => format!("the run ends `{}` (exit {})", end.status, end.exit_code),
        }),
        _ => None,
    }
}

/// Returns the faults that struck an effect.
fn struck(run: &SimulatedRun, intent: &Intent) -> Vec<(String, FaultKind)> {
    let at = run.trail.iter().filter(|reached| reached.position.seq == intent.seq);
    at.filter_map(|reached| reached.struck.map(|fault| (reached.position.kind.clone(), fault))).collect()
}

fn effect_line(run: &SimulatedRun, record: &Record, intent: &Intent, order: usize) -> Option<Line> {
    let outcome = run.records.iter().filter(|other| other.n > record.n).find_map(|other| match &other.entry {
        Entry::Completed { seq, .. } if *seq == intent.seq => Some(Ok(other)),
        Entry::Failed { seq, error, .. } if *seq == intent.seq => Some(Err((other, error))),
        _ => None,
    });
    let (ended, result) = match &outcome {
        Some(Ok(other)) => (run.at_ms(other), "done".to_owned()),
        Some(Err((other, error))) => (run.at_ms(other), format!("failed: {}", error.message)),
        None => (run.at_ms(record), "outcome unknown".to_owned()),
    };
    let struck = struck(run, intent);
    let what = format!("{} {}", intent.kind, intent.subject);
    let (marked, result) = match struck.first() {
        Some((kind, fault)) if *kind == intent.kind => (true, fault.description().to_owned()),
        Some((kind, fault)) => (true, format!("{result}; `{kind}` before it {}", fault.description())),
        None => (false, result),
    };
    let writes = intent.access == EntryAccess::Write;
    let worth = match (&outcome, writes) {
        _ if marked => Worth::Key,
        (Some(Err(_)), _) => Worth::Failed,
        (_, true) if intent.undoes.is_some() => Worth::Undone,
        (_, true) => Worth::Done,
        (_, false) => Worth::Read,
    };
    let verb = if intent.undoes.is_some() { "undo: " } else { "" };
    let text = format!("{verb}{}: {result}", what.trim_end());
    Some(Line { at_ms: ended, order, worth, marked, place: place(intent.site.as_ref()), text })
}

fn seen_by_clients(run: &SimulatedRun) -> Vec<Line> {
    let spells = run.spells.iter().skip_while(|spell| !spell.result.is_good()).skip(1);
    let mut lines: Vec<Line> = spells
        .map(|spell| Line {
            at_ms: spell.from_ms.saturating_sub(run.began_ms),
            order: usize::MAX / 2,
            worth: if spell.result.is_good() { Worth::Turn } else { Worth::Seen },
            marked: false,
            place: "clients".into(),
            text: format!("{} for {}", spell.result, seconds(spell.duration_ms())),
        })
        .collect();
    if let Some(last) = lines.last_mut()
        && let Some(spell) = run.spells.last().filter(|spell| !spell.result.is_good())
    {
        last.worth = Worth::Key;
        last.text = format!("{}, until the end", spell.result);
    }
    lines
}
