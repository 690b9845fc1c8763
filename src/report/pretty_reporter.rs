//! For people: live timers while effects are under way, and one line for each step that has ended.

use std::collections::BTreeSet;

use super::layout::{Paint, Tone, columns, engine_at, fit, last_lines, one_line, safe_lines, took, wrap};
use super::screen::Screen;
use super::summary::{Summary, SummaryLine};
use super::timeline::{EffectEnd, EffectLine, EndedStep, Step, Timeline, TimelineEvent};
use super::{DisplayOptions, Output, Reporter};
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Level, RunEvent, RunHeader};

/// How many of the last lines of an error's detail are shown.
const DETAIL_LINES: usize = 10;
/// The minimum width of the layout.
const LEAST_WIDTH: usize = 20;
/// Columns of a field's name.
const FIELD: usize = 10;

/// Shows a run on a terminal.
pub struct PrettyReporter {
    timeline: Timeline,
    display: DisplayOptions,
    paint: Paint,
    screen: Screen,
    /// Open steps whose title is on the screen, because a line of them is.
    headed: BTreeSet<Seq>,
}

impl PrettyReporter {
    pub fn new(display: DisplayOptions, output: Output) -> Self {
        let display = DisplayOptions { width: display.width.max(LEAST_WIDTH), ..display };
        Self {
            timeline: Timeline::default(),
            display,
            paint: Paint { colour: display.colour },
            screen: Screen::new(display, output),
            headed: BTreeSet::new(),
        }
    }

    fn happened(&mut self, event: TimelineEvent) {
        match event {
            TimelineEvent::Began { run, at_ms, header } => self.began(&run, at_ms, &header),
            TimelineEvent::StepBegan(step) => {
                self.heading(&step.seq);
                if let Some(live) = self.screen.live() {
                    live.step_began(&step);
                }
            }
            TimelineEvent::StepEnded(ended) => self.step_ended(&ended),
            TimelineEvent::EffectBegan(effect) => {
                if let Some(live) = self.screen.live() {
                    live.effect_began(&effect);
                }
            }
            TimelineEvent::EffectProgressed { effect, text, fraction, .. } => {
                if let Some(live) = self.screen.live() {
                    live.effect_progressed(&effect, &text, fraction);
                }
            }
            TimelineEvent::EffectEnded(effect) => {
                if let Some(live) = self.screen.live() {
                    live.ended(&effect.seq);
                }
                self.effect_ended(&effect);
            }
            TimelineEvent::Said { level: Level::Print, text } => self.screen.print(&text),
            TimelineEvent::Said { level, text } => self.said(level, &text),
            TimelineEvent::Committed => {
                self.wrapped(0, Tone::Quiet, "•", "point of no return: what was done so far stays");
            }
            TimelineEvent::RollingBack { reason } => {
                self.wrapped(0, Tone::Undo, "↶", &format!("rolling back: {reason}"));
            }
            TimelineEvent::RollbackCalled => self.wrapped(2, Tone::Undo, "↶", "on_rollback"),
            TimelineEvent::Ended(summary) => self.ended(&summary),
        }
    }

    fn began(&self, run: &RunId, at_ms: i64, header: &RunHeader) {
        let script = self.paint.on(Tone::Strong, &one_line(&header.script));
        let instant = jiff::Timestamp::from_millisecond(at_ms).ok().filter(|_| !self.display.live);
        let when = instant.map(|at| at.strftime("  %Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
        let at = engine_at(&header.engine, &header.address);
        let line = format!("{script}  {}{when}  {at}", self.paint.on(Tone::Quiet, &format!("run {run}")));
        self.screen.say(&fit(&line, self.display.width));
    }

    /// Shows the titles of the steps around a position, once.
    fn heading(&mut self, seq: &Seq) {
        let steps: Vec<Step> = self.timeline.steps_around(seq).into_iter().cloned().collect();
        self.head(&steps);
    }

    fn head(&mut self, steps: &[Step]) {
        for step in steps {
            if self.headed.insert(step.seq.clone()) {
                self.row(step.depth * 2, Tone::Strong, "•", &step.label(), "");
            }
        }
    }

    fn step_ended(&mut self, EndedStep { step, ok, took_ms, effects, dropped }: &EndedStep) {
        if let Some(live) = self.screen.live() {
            live.ended(&step.seq);
        }
        self.heading(&step.seq);
        self.headed.remove(&step.seq);
        let (tone, symbol) = if *ok { (Tone::Good, "✓") } else { (Tone::Bad, "✗") };
        self.row(step.depth * 2, tone, symbol, &step.label(), &took(*took_ms));
        if self.display.verbose {
            return;
        }
        if *dropped > 0 && !ok {
            self.row(step.depth * 2 + 2, Tone::Quiet, "…", &format!("{dropped} more"), "");
        }
        for effect in effects {
            match (&effect.end, ok) {
                (EffectEnd::Failed(error), true) => self.tolerated(effect, error),
                (EffectEnd::Done(None), true) => {}
                (EffectEnd::Done(None), false) if effect.read => {}
                _ => self.effect(effect),
            }
        }
    }

    fn effect_ended(&mut self, effect: &EffectLine) {
        let in_step = !effect.undo && effect.depth > 0;
        let folded = effect.read && effect.end == EffectEnd::Done(None);
        if self.display.verbose || !(in_step || folded) {
            if in_step {
                self.heading(&effect.seq);
            }
            self.effect(effect);
        }
    }

    fn effect(&self, effect: &EffectLine) {
        let indent = effect.depth * 2;
        let tail = self.tail(effect);
        match &effect.end {
            EffectEnd::Failed(error) if error.kind == ErrorKind::Interrupted => {
                self.row(indent, Tone::Warn, "?", &effect.label(), &tail);
                self.evidence(indent + 2, error);
            }
            EffectEnd::Failed(error) => {
                self.row(indent, Tone::Bad, "✗", &effect.label(), &tail);
                self.evidence(indent + 2, error);
            }
            EffectEnd::Done(Some(warning)) => {
                self.row(indent, Tone::Warn, "!", &effect.label(), &tail);
                self.wrapped(indent + 2, Tone::Warn, "", warning);
            }
            _ if effect.undo => self.row(indent, Tone::Undo, "↶", &effect.label(), &tail),
            _ => self.row(indent, Tone::Good, "✓", &effect.label(), &tail),
        }
    }

    /// Returns how long an effect took and, in verbose output with enough room, the script line.
    fn tail(&self, effect: &EffectLine) -> String {
        let site = effect.site.as_ref().filter(|_| self.display.verbose);
        let site = site.map(|site| format!("  {}", one_line(&site.to_string())));
        let site = site.filter(|site| columns(site) <= self.display.width / 3).unwrap_or_default();
        format!("{}{site}", took(effect.took_ms))
    }

    /// Shows a failure that did not fail its step.
    fn tolerated(&self, effect: &EffectLine, error: &EffectError) {
        let text = format!("{}: {}", effect.label(), one_line(&error.message));
        self.wrapped(effect.depth * 2, Tone::Quiet, "!", &text);
    }

    fn evidence(&self, indent: usize, error: &EffectError) {
        self.wrapped(indent, Tone::Plain, "", &one_line(&error.message));
        if !self.display.verbose {
            return;
        }
        let (skipped, lines) = last_lines(error.detail.as_deref().unwrap_or_default(), DETAIL_LINES);
        let skipped = (skipped > 0).then(|| format!("… {skipped} lines before"));
        for line in skipped.into_iter().chain(lines) {
            self.wrapped(indent, Tone::Quiet, "│", &line);
        }
        if let Some(hint) = &error.hint {
            self.wrapped(indent, Tone::Plain, "", &format!("hint: {}", one_line(hint)));
        }
    }

    fn said(&mut self, level: Level, text: &str) {
        let steps: Vec<Step> = self.timeline.main_steps().into_iter().cloned().collect();
        self.head(&steps);
        let (tone, symbol) = match level {
            Level::Info | Level::Print => (Tone::Plain, ""),
            Level::Warn => (Tone::Warn, "!"),
            Level::Error => (Tone::Bad, "✗"),
        };
        for line in safe_lines(text) {
            self.wrapped(steps.len() * 2, tone, symbol, &line);
        }
    }

    fn ended(&mut self, summary: &Summary) {
        if let Some(live) = self.screen.live() {
            live.clear();
        }
        self.screen.say("");
        for line in summary.lines_for(self.display.temporary) {
            match line {
                SummaryLine::Report(report) => self.screen.say(&format!("{report}\n")),
                SummaryLine::Headline(tone, text) => {
                    let symbol = match tone {
                        Tone::Good => "✓",
                        Tone::Bad => "✗",
                        _ => "!",
                    };
                    self.wrapped(0, tone, symbol, &text);
                }
                SummaryLine::Error(text) => self.wrapped(0, Tone::Bad, "✗", &text),
                SummaryLine::Caption(text) => self.wrapped(2, Tone::Plain, "", &text),
                SummaryLine::Change(text) => self.wrapped(4, Tone::Plain, "", &text),
                SummaryLine::Remaining(number, text) => self.wrapped(4, Tone::Plain, &format!("{number}."), &text),
                SummaryLine::Command(command) => {
                    self.screen.say(&format!("         {}", self.paint.on(Tone::Strong, &command)));
                }
                SummaryLine::Field(name, value) => {
                    let name = self.paint.on(Tone::Quiet, &format!("{name:<FIELD$}"));
                    self.screen.say(&format!("  {name} {value}"));
                }
            }
        }
    }

    /// One line, cut to the width; its tail is never cut.
    fn row(&self, indent: usize, tone: Tone, symbol: &str, text: &str, tail: &str) {
        // Deep nesting must leave room for words.
        let indent = indent.min(self.display.width / 3);
        let tail = if tail.is_empty() { String::new() } else { format!("  {tail}") };
        let room = self.display.width.saturating_sub(indent + columns(symbol) + 1 + columns(&tail));
        let words = fit(text, room);
        let words = if symbol == "•" { self.paint.on(tone, &words) } else { words.into_owned() };
        let (symbol, tail) = (self.paint.on(tone, symbol), self.paint.on(Tone::Quiet, &tail));
        self.screen.say(&format!("{}{symbol} {words}{tail}", " ".repeat(indent)));
    }

    /// As many lines as it takes, the further ones below the first one's words.
    fn wrapped(&self, indent: usize, tone: Tone, symbol: &str, text: &str) {
        let indent = indent.min(self.display.width / 3);
        let hang = if symbol.is_empty() { 0 } else { columns(symbol) + 1 };
        for (at, line) in wrap(text, self.display.width.saturating_sub(indent + hang)).iter().enumerate() {
            let lead = if at == 0 && hang > 0 { format!("{symbol} ") } else { " ".repeat(hang) };
            let line = self.paint.on(tone, format!("{lead}{line}").trim_end());
            self.screen.say(&format!("{}{line}", " ".repeat(indent)));
        }
    }
}

impl Reporter for PrettyReporter {
    fn show(&mut self, event: &RunEvent) {
        if let Some(event) = self.timeline.apply(event) {
            self.happened(event);
        }
    }

    fn finish(&mut self) {
        if let Some(live) = self.screen.live() {
            live.clear();
        }
        let Some(open) = self.timeline.unfinished() else { return };
        let open: Vec<EffectLine> = open.into_iter().cloned().collect();
        for effect in &open {
            self.heading(&effect.seq);
            self.wrapped(effect.depth * 2, Tone::Warn, "?", &format!("{}: outcome unknown", effect.label()));
        }
        self.wrapped(0, Tone::Warn, "!", "no end is recorded: the run is under way or was interrupted");
    }
}
