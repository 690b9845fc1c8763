//! Folds events into what is open now and what just happened, for every reporter.
//! Keeps only open steps, open effects and counts, however long the run. Knows no terminal.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::changes::{Changes, Names};
use super::layout::{between, one_line};
use super::summary::Summary;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::{Applied, EffectError};
use crate::journal::entry::{Entry, EntryAccess, Intent, Level, Purpose, Record, RunEnd, RunEvent, RunHeader};

/// How many effects of an open step are kept until it ends, failed ones first.
const EFFECTS_KEPT: usize = 20;

/// A `step` of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub seq: Seq,
    pub title: String,
    /// How many open steps it is in.
    pub depth: usize,
    /// Which branches of `parallel` it is on, such as `2` or `2.1`; empty on the main line.
    pub branch: String,
    opened_ms: i64,
}

/// An effect, under way or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectLine {
    pub seq: Seq,
    pub kind: String,
    pub subject: String,
    pub read: bool,
    /// Whether it undoes something.
    pub undo: bool,
    pub depth: usize,
    pub branch: String,
    pub site: Option<Site>,
    pub took_ms: u64,
    pub end: EffectEnd,
}

/// The state of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectEnd {
    UnderWay,
    /// Done, with a warning if its outcome has one.
    Done(Option<String>),
    Failed(EffectError),
}

/// A step that ended, and the effects that were directly in it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedStep {
    pub step: Step,
    pub ok: bool,
    pub took_ms: u64,
    /// The last ones, at most [`EFFECTS_KEPT`].
    pub effects: Vec<EffectLine>,
    /// How many were dropped.
    pub dropped: usize,
}

/// What one event means.
#[derive(Debug)]
pub enum TimelineEvent {
    Began { run: RunId, at_ms: i64, header: Box<RunHeader> },
    StepBegan(Step),
    StepEnded(EndedStep),
    EffectBegan(EffectLine),
    EffectProgressed { effect: EffectLine, at_ms: i64, text: String, fraction: Option<f32> },
    EffectEnded(EffectLine),
    Said { level: Level, text: String },
    Committed,
    RollingBack { reason: String },
    RollbackCalled,
    Ended(Box<Summary>),
}

/// The state of a run as reporters see it.
#[derive(Debug, Default)]
pub struct Timeline {
    run: Option<RunId>,
    started_ms: i64,
    latest_ms: i64,
    steps: BTreeMap<Seq, OpenStep>,
    under_way: BTreeMap<Seq, UnderWay>,
    rolling_back: bool,
    committed: bool,
    /// Arguments that select the engine and the journal.
    flags: (String, String),
    /// Whether anything was changed, or may have been.
    touched: bool,
    ended: bool,
    names: Names,
    changes: Changes,
}

#[derive(Debug)]
struct OpenStep {
    step: Step,
    effects: VecDeque<EffectLine>,
    dropped: usize,
}

#[derive(Debug)]
struct UnderWay {
    intent: Intent,
    line: EffectLine,
    began_ms: i64,
}

impl Timeline {
    /// Applies one more event. Returns `None` when there is nothing to show.
    pub fn apply(&mut self, event: &RunEvent) -> Option<TimelineEvent> {
        match event {
            RunEvent::Recorded(record) => {
                self.latest_ms = record.at_ms;
                self.record(record)
            }
            RunEvent::Progress { seq, at_ms, text, fraction, .. } => {
                let open = self.under_way.get(seq)?;
                let effect = EffectLine { took_ms: between(open.began_ms, *at_ms), ..open.line.clone() };
                Some(TimelineEvent::EffectProgressed {
                    effect,
                    at_ms: *at_ms,
                    text: one_line(text),
                    fraction: *fraction,
                })
            }
        }
    }

    /// Returns the open steps around a position, outermost first.
    pub fn steps_around(&self, seq: &Seq) -> Vec<&Step> {
        self.steps.range(..seq).map(|(_, open)| &open.step).filter(|step| contains(&step.seq, seq)).collect()
    }

    /// Returns the open steps of the main line, outermost first: messages of the script belong there.
    pub fn main_steps(&self) -> Vec<&Step> {
        self.steps.values().map(|open| &open.step).filter(|step| step.branch.is_empty()).collect()
    }

    /// Returns the effects whose outcome is unknown, if the run has started and not ended.
    pub fn unfinished(&self) -> Option<Vec<&EffectLine>> {
        (self.run.is_some() && !self.ended).then(|| self.under_way.values().map(|open| &open.line).collect())
    }

    fn record(&mut self, record: &Record) -> Option<TimelineEvent> {
        match &record.entry {
            Entry::RunStarted { header } => {
                self.run = Some(record.run.clone());
                self.started_ms = record.at_ms;
                self.flags = (header.engine_flags.clone(), header.state_flags.clone());
                Some(TimelineEvent::Began { run: record.run.clone(), at_ms: record.at_ms, header: header.clone() })
            }
            Entry::StepOpened { seq, title } => {
                let step = Step {
                    seq: seq.clone(),
                    title: one_line(title),
                    depth: self.depth_at(seq),
                    branch: branch(seq),
                    opened_ms: record.at_ms,
                };
                let open = OpenStep { step: step.clone(), effects: VecDeque::new(), dropped: 0 };
                self.steps.insert(seq.clone(), open);
                Some(TimelineEvent::StepBegan(step))
            }
            Entry::StepClosed { seq, ok } => {
                let open = self.steps.remove(seq)?;
                Some(TimelineEvent::StepEnded(EndedStep {
                    took_ms: between(open.step.opened_ms, record.at_ms),
                    step: open.step,
                    ok: *ok,
                    effects: open.effects.into(),
                    dropped: open.dropped,
                }))
            }
            Entry::Intended { intent } => Some(TimelineEvent::EffectBegan(self.begin(intent, record.at_ms))),
            Entry::Completed { seq, outcome, elapsed_ms } => {
                let open = self.under_way.remove(seq)?;
                self.names.learn(outcome);
                self.changes.complete(&open.intent, &open.line.subject, outcome, &self.names, self.rolling_back);
                let done = EffectEnd::Done(warning(&open.intent.kind, outcome));
                Some(TimelineEvent::EffectEnded(self.end(open, *elapsed_ms, done)))
            }
            Entry::Failed { seq, error, elapsed_ms } => {
                let open = self.under_way.remove(seq)?;
                self.touched |= writes(&open.intent) && error.applied == Applied::Unknown;
                Some(TimelineEvent::EffectEnded(self.end(open, *elapsed_ms, EffectEnd::Failed(error.clone()))))
            }
            Entry::Logged { level, text, .. } => Some(TimelineEvent::Said { level: *level, text: text.clone() }),
            // Only the first `commit()` is shown.
            Entry::Committed { .. } => {
                (!std::mem::replace(&mut self.committed, true)).then_some(TimelineEvent::Committed)
            }
            Entry::RollbackStarted { reason } => {
                self.rolling_back = true;
                Some(TimelineEvent::RollingBack { reason: one_line(reason) })
            }
            Entry::RollbackFailed { why, .. } => Some(TimelineEvent::Said {
                level: Level::Warn,
                text: format!("a closure of `on_rollback` failed: {why}"),
            }),
            Entry::RollbackCalled { .. } => Some(TimelineEvent::RollbackCalled),
            Entry::RunEnded { end } => {
                self.ended = true;
                Some(TimelineEvent::Ended(Box::new(self.summary(&record.run, end))))
            }
            Entry::RunReopened { process, purpose } => {
                let what = match purpose {
                    Purpose::Resume => "resumed",
                    Purpose::Abort => "aborted",
                };
                let text = format!("{what} by process {} on {}", process.pid, process.host);
                Some(TimelineEvent::Said { level: Level::Info, text })
            }
            Entry::RunResolved => {
                let text = "marked as resolved by an operator".into();
                Some(TimelineEvent::Said { level: Level::Info, text })
            }
            Entry::SourceLoaded { .. }
            | Entry::ParallelOpened { .. }
            | Entry::ParallelClosed { .. }
            | Entry::RollbackRegistered { .. } => None,
        }
    }

    fn begin(&mut self, intent: &Intent, at_ms: i64) -> EffectLine {
        let line = EffectLine {
            seq: intent.seq.clone(),
            kind: one_line(&intent.kind),
            subject: one_line(&self.names.replace_ids(&intent.subject)),
            // Every run ends by releasing its lock, which is not worth a line.
            read: intent.access == EntryAccess::Read || intent.kind == "unlock",
            undo: intent.undoes.is_some() || (self.rolling_back && intent.kind != "unlock"),
            depth: if self.rolling_back { 1 } else { self.depth_at(&intent.seq) },
            branch: branch(&intent.seq),
            site: intent.site.clone(),
            took_ms: 0,
            end: EffectEnd::UnderWay,
        };
        let open = UnderWay { intent: intent.clone(), line: line.clone(), began_ms: at_ms };
        self.under_way.insert(intent.seq.clone(), open);
        line
    }

    fn end(&mut self, open: UnderWay, took_ms: u64, end: EffectEnd) -> EffectLine {
        self.touched |= writes(&open.intent) && matches!(end, EffectEnd::Done(_));
        let line = EffectLine { took_ms, end, ..open.line };
        let around = self.steps.range_mut(..&line.seq).rev().map(|(_, step)| step);
        if let Some(step) = around.into_iter().find(|open| contains(&open.step.seq, &line.seq))
            && !line.undo
        {
            step.keep(line.clone());
        }
        line
    }

    fn depth_at(&self, seq: &Seq) -> usize {
        self.steps_around(seq).len()
    }

    fn summary(&self, run: &RunId, end: &RunEnd) -> Summary {
        Summary {
            run: run.clone(),
            engine_flags: self.flags.0.clone(),
            state_flags: self.flags.1.clone(),
            took_ms: between(self.started_ms, self.latest_ms),
            touched: self.touched,
            changes: self.changes.net(),
            end: end.clone(),
        }
    }
}

impl OpenStep {
    fn keep(&mut self, line: EffectLine) {
        self.effects.push_back(line);
        if self.effects.len() > EFFECTS_KEPT {
            let least = self.effects.iter().position(|line| !line.failed()).unwrap_or(0);
            self.effects.remove(least);
            self.dropped += 1;
        }
    }
}

impl EffectLine {
    pub fn failed(&self) -> bool {
        matches!(self.end, EffectEnd::Failed(_))
    }

    /// Returns kind and subject, after the branch.
    pub fn label(&self) -> String {
        format!("{}{} {}", tag(&self.branch), self.kind, self.subject).trim_end().to_owned()
    }
}

impl Step {
    /// Returns the title, after the branch.
    pub fn label(&self) -> String {
        format!("{}{}", tag(&self.branch), self.title)
    }
}

fn tag(branch: &str) -> String {
    if branch.is_empty() { String::new() } else { format!("[{branch}] ") }
}

/// Returns whether a position is in an open step: the step started before it, on the same branch or on a parent branch.
fn contains(step: &Seq, seq: &Seq) -> bool {
    let (step_path, path) = (step.path(), seq.path());
    let on = step_path.len().saturating_sub(1);
    step < seq && path.len() > on && path[..on] == step_path[..on]
}

/// Returns the numbers of the branches in a path: `12.2.3` is on branch `2` of the `parallel` at 12.
fn branch(seq: &Seq) -> String {
    let path = seq.path();
    // What is done beside the script is on no branch of it.
    if !seq.is_from_script() {
        return String::new();
    }
    let numbers = path[..path.len().saturating_sub(1)].iter().skip(1).step_by(2);
    numbers.map(ToString::to_string).collect::<Vec<_>>().join(".")
}

/// Returns whether it changes anything other than the lock and notifications.
fn writes(intent: &Intent) -> bool {
    intent.access == EntryAccess::Write && !matches!(intent.kind.as_str(), "lock" | "unlock" | "notify")
}

/// Returns the warning in the outcome of an effect that did not fail.
fn warning(kind: &str, outcome: &Value) -> Option<String> {
    let text = |key: &str| outcome.get(key).and_then(Value::as_str);
    let is = |key: &str| outcome.get(key).and_then(Value::as_bool);
    match kind {
        "notify" if is("delivered") == Some(false) => {
            Some(format!("not delivered: {}", one_line(text("error").unwrap_or("no reason given"))))
        }
        "docker_stop" if is("killed") == Some(true) => Some("did not stop in time and was killed".into()),
        "lock" => text("taken_over_from").map(|run| format!("taken over from the interrupted run {}", one_line(run))),
        _ => None,
    }
}
