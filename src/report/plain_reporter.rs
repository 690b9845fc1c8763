//! For logs: one line per fact in a stable layout, so that it can be searched. No times of day, nothing moves.

use std::collections::BTreeMap;

use super::layout::{Paint, Tone, engine_at, fit, last_lines, one_line, safe_lines, took};
use super::summary::{Summary, SummaryLine};
use super::timeline::{EffectEnd, EffectLine, EndedStep, Timeline, TimelineEvent};
use super::{DisplayOptions, Output, Reporter};
use crate::base::seq::Seq;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Level, RunEvent};

/// Minimum time between two lines of progress of one effect.
const PROGRESS_EVERY_MS: i64 = 10_000;
/// Reads are shown when they took at least this long, and always in verbose output.
const WORTH_A_LINE_MS: u64 = 1_000;
/// Effects that are announced because they may take long: builds, transfers, programs, waits.
const ANNOUNCED: [&str; 18] = [
    "container_archive",
    "compose_up",
    "docker_build",
    "docker_exec",
    "docker_load",
    "docker_pull",
    "docker_push",
    "docker_wait",
    "exec",
    "git_pull",
    "health_wait",
    "object_get",
    "object_put",
    "sleep",
    "sqlite_backup",
    "sqlite_check",
    "sqlite_migrate_dry_run",
    "sqlite_restore",
];
/// Maximum width of a line: a command may be a whole program.
const LONGEST: usize = 200;
/// How many of the last lines of an error's detail are shown.
const DETAIL_LINES: usize = 20;

/// Writes a run to a log.
pub struct PlainReporter {
    timeline: Timeline,
    paint: Paint,
    verbose: bool,
    temporary: bool,
    output: Output,
    /// When the last line about each announced effect was written.
    last_line_ms: BTreeMap<Seq, i64>,
    /// When the current event happened.
    now_ms: i64,
}

impl PlainReporter {
    pub fn new(display: DisplayOptions, output: Output) -> Self {
        let paint = Paint { colour: display.colour };
        Self {
            timeline: Timeline::default(),
            paint,
            verbose: display.verbose,
            temporary: display.temporary,
            output,
            last_line_ms: BTreeMap::new(),
            now_ms: 0,
        }
    }

    /// Writes a line that starts with one word in six columns.
    fn line(&mut self, depth: usize, tone: Tone, word: &str, text: &str) {
        let word = self.paint.on(tone, &format!("{word:<5}"));
        let line = format!("{}{word} {}", "  ".repeat(depth), fit(text, LONGEST));
        self.talk(line.trim_end());
    }

    fn talk(&mut self, line: &str) {
        // A deploy continues when its reader has gone; the journal has everything.
        drop(writeln!(self.output.talk, "{line}").and_then(|()| self.output.talk.flush()));
    }

    fn happened(&mut self, event: TimelineEvent) {
        match event {
            TimelineEvent::Began { run, header, .. } => {
                let at = format!("{} on {}", header.script, engine_at(&header.engine, &header.address));
                self.line(0, Tone::Strong, "run", &format!("{run} {}", one_line(&at)));
            }
            TimelineEvent::StepBegan(step) => self.line(step.depth, Tone::Strong, "step", &step.label()),
            TimelineEvent::StepEnded(ended) => self.step_ended(&ended),
            TimelineEvent::EffectBegan(effect) => {
                if ANNOUNCED.contains(&effect.kind.as_str()) && (self.verbose || !effect.read) {
                    self.line(effect.depth, Tone::Quiet, "start", &effect.label());
                    self.last_line_ms.insert(effect.seq, self.now_ms);
                }
            }
            TimelineEvent::EffectProgressed { effect, at_ms, text, fraction } => {
                self.progressed(&effect, at_ms, &text, fraction);
            }
            TimelineEvent::EffectEnded(effect) => self.effect_ended(&effect),
            TimelineEvent::Said { level: Level::Print, text } => {
                drop(writeln!(self.output.data, "{text}").and_then(|()| self.output.data.flush()));
            }
            TimelineEvent::Said { level, text } => {
                let (tone, word) = match level {
                    Level::Info | Level::Print => (Tone::Plain, "log"),
                    Level::Warn => (Tone::Warn, "warn"),
                    Level::Error => (Tone::Bad, "error"),
                };
                let depth = self.timeline.main_steps().len();
                for line in safe_lines(&text) {
                    self.line(depth, tone, word, &line);
                }
            }
            TimelineEvent::Committed => {
                self.line(0, Tone::Strong, "keep", "point of no return: what was done so far stays")
            }
            TimelineEvent::RollingBack { reason } => {
                self.line(0, Tone::Undo, "undo", &format!("rolling back: {reason}"));
            }
            TimelineEvent::RollbackCalled => self.line(1, Tone::Undo, "undo", "on_rollback"),
            TimelineEvent::Ended(summary) => self.ended(&summary),
        }
    }

    fn step_ended(&mut self, EndedStep { step, ok, took_ms, .. }: &EndedStep) {
        let (tone, word) = if *ok { (Tone::Good, "done") } else { (Tone::Bad, "FAIL") };
        self.line(step.depth, tone, word, &format!("step {}  {}", step.label(), took(*took_ms)));
    }

    fn progressed(&mut self, effect: &EffectLine, at_ms: i64, text: &str, fraction: Option<f32>) {
        let began_ms = at_ms - i64::try_from(effect.took_ms).unwrap_or(0);
        let last_line_ms = self.last_line_ms.entry(effect.seq.clone()).or_insert(began_ms);
        if at_ms.saturating_sub(*last_line_ms) < PROGRESS_EVERY_MS {
            return;
        }
        *last_line_ms = at_ms;
        let part = fraction.map(|fraction| format!("  {:.0}%", (fraction * 100.0).floor())).unwrap_or_default();
        let text = format!("{}  {}{part}  {text}", effect.label(), took(effect.took_ms));
        self.line(effect.depth, Tone::Quiet, "...", &text);
    }

    fn effect_ended(&mut self, effect: &EffectLine) {
        self.last_line_ms.remove(&effect.seq);
        let text = format!("{}  {}", effect.label(), took(effect.took_ms));
        let undo = if effect.undo { "undo " } else { "" };
        match &effect.end {
            EffectEnd::Failed(error) if error.kind == ErrorKind::Interrupted => {
                let text = format!("{undo}{}  {}", effect.label(), one_line(&error.message));
                self.line(effect.depth, Tone::Warn, "?", &text);
            }
            EffectEnd::Failed(error) => {
                let text = format!("{undo}{text}  {}", one_line(&error.message));
                self.line(effect.depth, Tone::Bad, "FAIL", &text);
                self.evidence(effect.depth, error);
            }
            EffectEnd::Done(Some(warning)) => {
                self.line(effect.depth, Tone::Warn, "warn", &format!("{undo}{text}  {warning}"))
            }
            _ if effect.undo => self.line(effect.depth, Tone::Undo, "undo", &text),
            _ if effect.read && !self.verbose && effect.took_ms < WORTH_A_LINE_MS => {}
            _ => self.line(effect.depth, Tone::Good, "ok", &text),
        }
    }

    fn evidence(&mut self, depth: usize, error: &EffectError) {
        let (skipped, lines) = last_lines(error.detail.as_deref().unwrap_or_default(), DETAIL_LINES);
        let skipped = (skipped > 0).then(|| format!("… {skipped} lines before"));
        for line in skipped.into_iter().chain(lines) {
            self.line(depth, Tone::Quiet, "", &format!("| {line}"));
        }
        if let Some(hint) = &error.hint {
            self.line(depth, Tone::Plain, "", &format!("hint: {}", one_line(hint)));
        }
    }

    fn ended(&mut self, summary: &Summary) {
        for line in summary.lines_for(self.temporary) {
            match line {
                SummaryLine::Report(report) => self.talk(&report),
                SummaryLine::Headline(tone, text) => self.line(0, tone, "end", &text),
                SummaryLine::Error(text) => self.line(0, Tone::Bad, "error", &text),
                SummaryLine::Caption(text) => self.line(0, Tone::Plain, "", &text),
                SummaryLine::Change(text) => self.line(1, Tone::Plain, "", &text),
                SummaryLine::Remaining(number, text) => self.line(1, Tone::Plain, "", &format!("{number}. {text}")),
                SummaryLine::Command(command) => self.talk(&format!("           {command}")),
                SummaryLine::Field(name, value) => self.talk(&format!("      {name}: {value}")),
            }
        }
    }
}

impl Reporter for PlainReporter {
    fn show(&mut self, event: &RunEvent) {
        if let RunEvent::Recorded(record) = event {
            self.now_ms = record.at_ms;
        }
        if let Some(event) = self.timeline.apply(event) {
            self.happened(event);
        }
    }

    fn finish(&mut self) {
        let Some(open) = self.timeline.unfinished() else { return };
        let labels: Vec<String> = open.into_iter().map(EffectLine::label).collect();
        for label in labels {
            self.line(1, Tone::Warn, "?", &format!("{label}  outcome unknown"));
        }
        self.line(0, Tone::Warn, "end", "no end is recorded: the run is under way or was interrupted");
    }
}
