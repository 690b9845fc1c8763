//! The lines that move: one per open step and per effect under way, in the order of the script.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::DisplayOptions;
use super::ansi_term::{AnsiTerm, SharedWriter};
use super::layout::{Paint, Tone, bar, columns, fit, took};
use super::timeline::{EffectLine, Step};
use crate::base::seq::Seq;

/// Maximum number of lines that move: more would scroll off a small terminal and leave traces.
const LINES: u16 = 12;
/// Frames per second.
const REFRESH_HZ: u8 = 15;
/// Time between two frames of a spinner.
const TICK: Duration = Duration::from_millis(100);
const SPINNER: [&str; 11] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", "•"];
/// Columns of a progress bar without its percentage.
const BAR: usize = 12;
/// Columns for a growing duration and the gap before it.
const TIMER: usize = 9;
/// Progress text is shown only with at least this many columns.
const WORDS_LEAST: usize = 8;

/// The lines of open steps and of effects under way.
pub struct LiveArea {
    multi: MultiProgress,
    lines: BTreeMap<Seq, ProgressBar>,
    paint: Paint,
    width: usize,
}

impl LiveArea {
    pub fn new(display: DisplayOptions, writer: SharedWriter) -> Self {
        let term = AnsiTerm::new(writer, display.width, LINES + 1);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(term), REFRESH_HZ);
        let paint = Paint { colour: display.colour };
        Self { multi: MultiProgress::with_draw_target(target), lines: BTreeMap::new(), paint, width: display.width }
    }

    /// Writes to the terminal while the live lines are removed from it.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.multi.suspend(write)
    }

    pub fn step_began(&mut self, step: &Step) {
        let indent = step.depth * 2;
        let room = self.width.saturating_sub(indent + 2 + TIMER);
        let label = self.paint.on(Tone::Strong, &fit(&step.label(), room));
        self.begin(&step.seq, indent, "•", label);
    }

    pub fn effect_began(&mut self, effect: &EffectLine) {
        let indent = effect.depth * 2;
        // The other half of the line is for progress; the final line has the whole label.
        let room = self.width.saturating_sub(indent + 2 + TIMER).min(self.width / 2);
        let tone = if effect.undo { Tone::Undo } else { Tone::Plain };
        let label = self.paint.on(tone, &fit(&effect.label(), room));
        self.begin(&effect.seq, indent, "{spinner}", label);
    }

    pub fn effect_progressed(&mut self, effect: &EffectLine, text: &str, fraction: Option<f32>) {
        let Some(line) = self.lines.get(&effect.seq) else { return };
        let done = fraction.map(|fraction| bar(fraction, BAR));
        let used = effect.depth * 2 + 2 + columns(&line.prefix()) + TIMER;
        let room = self.width.saturating_sub(used + 2);
        let bar = done.filter(|bar| columns(bar) <= room).unwrap_or_default();
        let room = room.saturating_sub(if bar.is_empty() { 0 } else { columns(&bar) + 2 });
        let words = if room < WORDS_LEAST { String::new() } else { fit(text, room).into_owned() };
        let gap = if bar.is_empty() || words.is_empty() { "" } else { "  " };
        line.set_message(format!("  {bar}{gap}{}", self.paint.on(Tone::Quiet, &words)));
    }

    pub fn ended(&mut self, seq: &Seq) {
        if let Some(line) = self.lines.remove(seq) {
            line.finish_and_clear();
            self.multi.remove(&line);
        }
    }

    /// Removes all lines.
    pub fn clear(&mut self) {
        while let Some((_, line)) = self.lines.pop_first() {
            line.finish_and_clear();
            self.multi.remove(&line);
        }
    }

    fn begin(&mut self, seq: &Seq, indent: usize, symbol: &str, label: String) {
        self.ended(seq);
        if self.lines.len() >= usize::from(LINES) {
            return;
        }
        let template = format!("{}{symbol} {{prefix}}  {{timer}}{{msg}}", " ".repeat(indent));
        let paint = self.paint;
        let timer = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let ms = u64::try_from(state.elapsed().as_millis()).unwrap_or(u64::MAX);
            // Hundredths would flicker.
            let text = if ms < 10_000 { format!("{}.{}s", ms / 1_000, ms % 1_000 / 100) } else { took(ms) };
            let _ = out.write_str(&paint.on(Tone::Quiet, &text));
        };
        let Ok(style) = ProgressStyle::with_template(&template) else { return };
        let style = style.with_key("timer", timer).tick_strings(&SPINNER);
        let line = ProgressBar::no_length().with_style(style).with_prefix(label);
        // Positions sort in the order of the script, so the lines of a branch stay together.
        let line = match self.lines.range(seq..).next() {
            Some((_, after)) => self.multi.insert_before(after, line),
            None => self.multi.add(line),
        };
        line.enable_steady_tick(TICK);
        self.lines.insert(seq.clone(), line);
    }
}
