//! The summary at the end of a run: what happened, what changed, how long it took, what to type next.
//! Produces lines with a meaning; reporters choose how to display them.

use super::layout::{Tone, one_line, safe_lines, took};
use crate::base::run_id::RunId;
use crate::base::shell_word::shell_word;
use crate::journal::entry::{Remaining, RunEnd, RunStatus};

/// How many changes are listed; more are counted.
const CHANGES_LISTED: usize = 20;
/// The fact that names the service of a run.
const SERVICE: &str = "service";

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub run: RunId,
    /// Arguments that select the run's engine; empty for the default.
    pub engine_flags: String,
    /// Arguments that select the run's journal; empty for the default.
    pub state_flags: String,
    /// From the first entry to the last.
    pub took_ms: u64,
    /// Whether anything was changed at any time, or may have been.
    pub touched: bool,
    /// The net changes, without those that were undone, one line each.
    pub changes: Vec<String>,
    pub end: RunEnd,
}

/// One line of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryLine {
    /// A rendered report.
    Report(String),
    Headline(Tone, String),
    Error(String),
    /// Above a list.
    Caption(String),
    Change(String),
    /// Numbered from 1.
    Remaining(usize, String),
    /// To be copied: never wrapped, never cut.
    Command(String),
    /// A name and a value to be copied.
    Field(&'static str, String),
}

impl Summary {
    /// Returns the lines to show; without commands that read the journal if it is `temporary`.
    pub fn lines_for(&self, temporary: bool) -> Vec<SummaryLine> {
        let mut lines = self.lines();
        lines.retain(|line| !temporary || !matches!(line, SummaryLine::Field(name, _) if *name != "run"));
        lines
    }

    pub fn lines(&self) -> Vec<SummaryLine> {
        let end = &self.end;
        let failed = end.status != RunStatus::Succeeded;
        let mut lines = Vec::new();
        match (&end.report, &end.error) {
            (Some(report), _) if failed => lines.push(SummaryLine::Report(report.trim_end().to_owned())),
            (_, Some(error)) if failed => lines.extend(safe_lines(error).map(SummaryLine::Error)),
            _ => {}
        }
        let (tone, headline) = self.headline();
        lines.push(SummaryLine::Headline(tone, headline));
        lines.extend(self.remaining());
        lines.extend(self.changed());
        lines.push(SummaryLine::Field("run", self.run.to_string()));
        // A release rollback is possible when the previous release was kept.
        let is_kept = |service: &str| {
            let container = format!("{service}-release-");
            self.changes.iter().any(|change| change.contains(":rollback") || change.contains(&container))
        };
        if let Some(service) = end.facts.get(SERVICE).filter(|service| !failed && is_kept(service)) {
            let name = shell_word(&one_line(service));
            let command = ["deployer rollback", &self.engine_flags, &self.state_flags, &name];
            lines.push(SummaryLine::Field("roll back", joined(&command)));
        }
        let details = ["deployer show", self.run.as_str(), &self.state_flags];
        lines.push(SummaryLine::Field("details", joined(&details)));
        lines
    }

    fn headline(&self) -> (Tone, String) {
        let time = took(self.took_ms);
        let failed = |verb: &str| match (self.end.committed, self.touched) {
            (true, _) => format!("{verb} after the point of no return ({time}): changes before `commit()` stay"),
            (false, true) => format!("{verb}; all changes rolled back ({time})"),
            (false, false) => format!("{verb} before anything was changed ({time})"),
        };
        match self.end.status {
            RunStatus::Succeeded if self.touched => (Tone::Good, format!("done in {time}")),
            RunStatus::Succeeded => (Tone::Good, format!("done in {time}: nothing had to be changed")),
            RunStatus::Failed => (Tone::Bad, failed("failed")),
            RunStatus::Cancelled => (Tone::Warn, failed("cancelled")),
            RunStatus::Stuck => (Tone::Bad, format!("stuck after {time}: failed and could not be rolled back")),
            RunStatus::Locked => (Tone::Warn, "not run: another run holds the lock; nothing was touched".into()),
            RunStatus::Unfinished => {
                let why = "not run: an interrupted run must be resumed or aborted first; nothing was touched";
                (Tone::Warn, why.into())
            }
            RunStatus::Invalid => (Tone::Bad, "not run: nothing was touched".into()),
            RunStatus::Aborted if self.end.committed => {
                let stays = "interrupted after the point of no return: changes before `commit()` stay; `deployer abort` \
                             rolled back what came after";
                (Tone::Bad, stays.into())
            }
            RunStatus::Aborted => (Tone::Warn, "interrupted; rolled back by `deployer abort`".into()),
            RunStatus::Resolved => (Tone::Warn, "marked as resolved by an operator".into()),
            RunStatus::Running => (Tone::Warn, format!("ended without a status after {time}")),
        }
    }

    fn remaining(&self) -> Vec<SummaryLine> {
        let remaining = &self.end.remaining;
        let caption = match remaining.len() {
            0 => None,
            1 => Some("to do by hand:".into()),
            _ => Some("to do by hand, in this order:".into()),
        };
        let one = |(number, Remaining { what, command }): (usize, &Remaining)| {
            let command = command.clone().map(SummaryLine::Command);
            std::iter::once(SummaryLine::Remaining(number, one_line(what))).chain(command)
        };
        caption.map(SummaryLine::Caption).into_iter().chain((1..).zip(remaining).flat_map(one)).collect()
    }

    fn changed(&self) -> Vec<SummaryLine> {
        let caption = match (self.changes.is_empty(), self.end.status) {
            (true, _) => return Vec::new(),
            (false, RunStatus::Succeeded) => "changed:",
            (false, _) => "still changed:",
        };
        let listed = self.changes.iter().take(CHANGES_LISTED).map(|change| one_line(change));
        let more = self.changes.len().saturating_sub(CHANGES_LISTED);
        let more = (more > 0).then(|| format!("… and {more} more"));
        let changes = listed.chain(more).map(SummaryLine::Change);
        std::iter::once(SummaryLine::Caption(caption.into())).chain(changes).collect()
    }
}

/// Joins the non-empty words of a command.
fn joined(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}
