//! The end of a run in words: what happened, what changed, how long it took, what to type next.
//! Lines with a meaning; the faces choose how they look.

use super::layout::{Tone, one_line, safe_lines, took};
use crate::base::run_id::RunId;
use crate::base::shell_word::shell_word;
use crate::journal::entry::{Remaining, RunEnd, RunStatus};

/// Changes that are listed; more are counted.
const CHANGES_LISTED: usize = 20;
/// The fact that names the service of a run.
const SERVICE: &str = "service";

/// What there is to say at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub run: RunId,
    /// Arguments that lead to the run's engine and to its journal; empty for the defaults.
    pub engine_flags: String,
    pub state_flags: String,
    /// From the first entry to the last.
    pub took_ms: u64,
    /// Whether anything outside was, or may have been, changed at any time.
    pub touched: bool,
    /// What is not as it was, one line each, net of what was undone.
    pub changes: Vec<String>,
    pub end: RunEnd,
}

/// One line of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryLine {
    /// A report that is laid out already.
    Report(String),
    Headline(Tone, String),
    Error(String),
    /// Above a list.
    Caption(String),
    Change(String),
    /// Numbered from 1.
    Remaining(usize, String),
    /// To be copied: never broken, never cut.
    Command(String),
    /// A name and a value to be copied.
    Field(&'static str, String),
}

impl Summary {
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
        // Where a release before was kept, there is something to go back to.
        let kept = self.changes.iter().any(|change| change.contains(":rollback"));
        if let Some(service) = end.facts.get(SERVICE).filter(|_| !failed && kept) {
            let set = format!("--set service={}", shell_word(&one_line(service)));
            let command = ["deployer run rollback.rhai", &self.engine_flags, &self.state_flags, &set];
            lines.push(SummaryLine::Field("take back", joined(&command)));
        }
        let details = ["deployer show", self.run.as_str(), &self.state_flags];
        lines.push(SummaryLine::Field("details", joined(&details)));
        lines
    }

    fn headline(&self) -> (Tone, String) {
        let after = took(self.took_ms);
        // The status says more than the entries: what is taken back by a later process is in other entries.
        let failed = |verb: &str| match (self.end.committed, self.touched) {
            (true, _) => {
                format!("{verb} after the point of no return, in {after}: what was done before `commit()` stays")
            }
            (false, true) => format!("{verb}, and everything it did was taken back, in {after}"),
            (false, false) => format!("{verb} before anything was changed, in {after}"),
        };
        match self.end.status {
            RunStatus::Succeeded if self.touched => (Tone::Good, format!("done in {after}")),
            RunStatus::Succeeded => (Tone::Good, format!("done in {after}: nothing had to be changed")),
            RunStatus::Failed => (Tone::Bad, failed("failed")),
            RunStatus::Cancelled => (Tone::Warn, failed("cancelled")),
            RunStatus::Stuck => (Tone::Bad, format!("stuck after {after}: it failed and could not be taken back")),
            RunStatus::Locked => (Tone::Warn, "not run: another run holds the lock; nothing was touched".into()),
            RunStatus::Unfinished => {
                let why = "not run: a killed run must be resumed or aborted first; nothing was touched";
                (Tone::Warn, why.into())
            }
            RunStatus::Invalid => (Tone::Bad, "not run: nothing was touched".into()),
            RunStatus::Aborted => (Tone::Warn, "killed, and taken back by `deployer abort`".into()),
            RunStatus::Resolved => (Tone::Warn, "was stuck, and resolved by a person".into()),
            RunStatus::Running => (Tone::Warn, format!("ended without a status after {after}")),
        }
    }

    fn remaining(&self) -> Vec<SummaryLine> {
        let remaining = &self.end.remaining;
        let caption = match remaining.len() {
            0 => None,
            1 => Some("one thing is left for you to do:".into()),
            count => Some(format!("{count} things are left for you to do, in this order:")),
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
            (false, _) => "not as it was before:",
        };
        let listed = self.changes.iter().take(CHANGES_LISTED).map(|change| one_line(change));
        let more = self.changes.len().saturating_sub(CHANGES_LISTED);
        let more = (more > 0).then(|| format!("… and {more} more"));
        let changes = listed.chain(more).map(SummaryLine::Change);
        std::iter::once(SummaryLine::Caption(caption.into())).chain(changes).collect()
    }
}

/// Words of a command, those left out that are empty.
fn joined(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}
