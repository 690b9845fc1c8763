//! For logs: one line per fact in a layout that stays, so that it can be searched. No times of day, nothing moves.

use std::collections::BTreeMap;

use super::layout::{Paint, Tone, engine_at, fit, last_lines, one_line, safe_lines, took};
use super::summary::{Summary, SummaryLine};
use super::timeline::{EffectEnd, EffectLine, EndedStep, Happening, Timeline};
use super::{Face, Look, Output};
use crate::base::seq::Seq;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Level, RunEvent};

/// At least so long between two lines of progress of one effect.
const PROGRESS_EVERY_MS: i64 = 10_000;
/// What only reads is shown when it took so long, or when everything is asked for.
const WORTH_A_LINE_MS: u64 = 1_000;
/// Effects that may take long enough to be announced: builds, transfers, programs, waits.
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
/// Columns of one line at the most: a command may be a whole program.
const LONGEST: usize = 200;
/// Last lines of an error's evidence.
const DETAIL_LINES: usize = 20;

pub struct PlainFace {
    timeline: Timeline,
    paint: Paint,
    verbose: bool,
    output: Output,
    /// Effects that are announced, and when their last line of progress was.
    told_ms: BTreeMap<Seq, i64>,
    /// When the event that is being shown happened.
    now_ms: i64,
}

impl PlainFace {
    pub fn new(look: Look, output: Output) -> Self {
        let paint = Paint { colour: look.colour };
        Self {
            timeline: Timeline::default(),
            paint,
            verbose: look.verbose,
            output,
            told_ms: BTreeMap::new(),
            now_ms: 0,
        }
    }

    /// Every line begins with one word of six columns.
    fn line(&mut self, depth: usize, tone: Tone, word: &str, text: &str) {
        let word = self.paint.on(tone, &format!("{word:<5}"));
        let line = format!("{}{word} {}", "  ".repeat(depth), fit(text, LONGEST));
        self.talk(line.trim_end());
    }

    fn talk(&mut self, line: &str) {
        // A deploy goes on when its reader has left; the journal has it all.
        drop(writeln!(self.output.talk, "{line}").and_then(|()| self.output.talk.flush()));
    }

    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Began { run, header, .. } => {
                let at = format!("{} on {}", header.script, engine_at(&header.engine, &header.address));
                self.line(0, Tone::Strong, "run", &format!("{run} {}", one_line(&at)));
            }
            Happening::StepBegan(step) => self.line(step.depth, Tone::Strong, "step", &step.label()),
            Happening::StepEnded(ended) => self.step_ended(&ended),
            Happening::EffectBegan(effect) => {
                if ANNOUNCED.contains(&effect.kind.as_str()) && (self.verbose || !effect.read) {
                    self.line(effect.depth, Tone::Quiet, "start", &effect.label());
                    self.told_ms.insert(effect.seq, self.now_ms);
                }
            }
            Happening::EffectProgressed { effect, at_ms, text, fraction } => {
                self.progressed(&effect, at_ms, &text, fraction);
            }
            Happening::EffectEnded(effect) => self.effect_ended(&effect),
            Happening::Said { level: Level::Print, text } => {
                drop(writeln!(self.output.data, "{text}").and_then(|()| self.output.data.flush()));
            }
            Happening::Said { level, text } => {
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
            Happening::Committed => {
                self.line(0, Tone::Strong, "keep", "point of no return: what was done so far stays")
            }
            Happening::TakingBack { reason } => self.line(0, Tone::Undo, "back", &format!("taking back: {reason}")),
            Happening::RollbackCalled => self.line(1, Tone::Undo, "undo", "on_rollback"),
            Happening::Ended(summary) => self.ended(&summary),
        }
    }

    fn step_ended(&mut self, EndedStep { step, ok, took_ms, .. }: &EndedStep) {
        let (tone, word) = if *ok { (Tone::Good, "done") } else { (Tone::Bad, "FAIL") };
        self.line(step.depth, tone, word, &format!("step {}  {}", step.label(), took(*took_ms)));
    }

    fn progressed(&mut self, effect: &EffectLine, at_ms: i64, text: &str, fraction: Option<f32>) {
        let told_ms =
            self.told_ms.entry(effect.seq.clone()).or_insert(at_ms - i64::try_from(effect.took_ms).unwrap_or(0));
        if at_ms.saturating_sub(*told_ms) < PROGRESS_EVERY_MS {
            return;
        }
        *told_ms = at_ms;
        let part = fraction.map(|fraction| format!("  {:.0}%", (fraction * 100.0).floor())).unwrap_or_default();
        let text = format!("{}  {}{part}  {text}", effect.label(), took(effect.took_ms));
        self.line(effect.depth, Tone::Quiet, "...", &text);
    }

    fn effect_ended(&mut self, effect: &EffectLine) {
        self.told_ms.remove(&effect.seq);
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
        for line in summary.lines() {
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

impl Face for PlainFace {
    fn show(&mut self, event: &RunEvent) {
        if let RunEvent::Recorded(record) = event {
            self.now_ms = record.at_ms;
        }
        if let Some(happening) = self.timeline.take(event) {
            self.happened(happening);
        }
    }

    fn finish(&mut self) {
        let Some(open) = self.timeline.unfinished() else { return };
        let labels: Vec<String> = open.into_iter().map(EffectLine::label).collect();
        for label in labels {
            self.line(1, Tone::Warn, "?", &format!("{label}  its outcome is not known"));
        }
        self.line(0, Tone::Warn, "end", "no end is recorded: the run is under way or was killed");
    }
}
