//! Text layout: durations, colours, truncation, wrapping. Knows no entry.

use std::borrow::Cow;

use console::{Style, measure_text_width, strip_ansi_codes, truncate_str};

/// Marks where text was cut.
const ELLIPSIS: &str = "…";

/// The meaning of a text, shown as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// No meaning.
    Plain,
    /// Important.
    Strong,
    /// Less important.
    Quiet,
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Warning.
    Warn,
    /// Part of a rollback.
    Undo,
}

/// Colours text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether to use colours.
    pub colour: bool,
}

impl Paint {
    /// Returns the text in the colour of its tone.
    pub fn on(self, tone: Tone, text: &str) -> String {
        let style = Style::new().force_styling(true);
        let style = match tone {
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Strong => style.bold(),
            Tone::Quiet => style.dim(),
            Tone::Good => style.green(),
            Tone::Bad => style.red().bold(),
            Tone::Warn => style.yellow(),
            Tone::Undo => style.magenta(),
        };
        style.apply_to(text).to_string()
    }
}

/// Formats a duration: `0.42s`, `12.3s`, `2m 05s`, `1h 02m`.
pub fn took(ms: u64) -> String {
    let (secs, minutes) = (ms / 1_000, ms / 60_000);
    match ms {
        // Rounding down keeps every form inside its own range.
        0..10_000 => format!("{secs}.{:02}s", ms % 1_000 / 10),
        10_000..60_000 => format!("{secs}.{}s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{minutes}m {:02}s", secs % 60),
        _ => format!("{}h {:02}m", minutes / 60, minutes % 60),
    }
}

/// Returns the milliseconds between two instants; 0 when the clock went back.
pub fn between(from_ms: i64, to_ms: i64) -> u64 {
    u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0)
}

/// Makes foreign text safe for one line of a terminal: removes escape sequences and control characters.
pub fn one_line(text: &str) -> String {
    let stripped = strip_ansi_codes(text);
    let safe: String = stripped.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    safe.trim_end().to_owned()
}

/// Returns an engine and its address, without a prefix of the address that repeats the engine.
pub fn engine_at(engine: &str, address: &str) -> String {
    let rest = address.strip_prefix(engine).and_then(|rest| rest.strip_prefix(':')).unwrap_or(address);
    one_line(&format!("{engine} {rest}"))
}

/// Returns the lines of a foreign text, each made safe.
pub fn safe_lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(one_line)
}

/// Returns how many lines a foreign text has before its last `count` lines, and these lines, each made safe.
pub fn last_lines(text: &str, count: usize) -> (usize, Vec<String>) {
    let all = text.lines().count();
    let skipped = all.saturating_sub(count);
    (skipped, text.lines().skip(skipped).map(one_line).collect())
}

/// Cuts a text to `width` columns.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    // The ellipsis takes a column too.
    if width == 0 { Cow::Borrowed("") } else { truncate_str(text, width, ELLIPSIS) }
}

/// Returns the number of columns that a text takes.
pub fn columns(text: &str) -> usize {
    measure_text_width(text)
}

/// Wraps a text into lines of `width` columns, between words where possible.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            line.push(c);
            // Measures the whole line: a character can widen the one before it.
            if columns(&line) > width && line.chars().count() > 1 {
                line.pop();
                lines.push(std::mem::take(&mut line));
                line.push(c);
            }
        }
    }
    lines.push(line);
    lines
}

/// Returns a bar of `width` columns, filled to `fraction`.
pub fn bar(fraction: f32, width: usize) -> String {
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 of a few columns")]
    let filled = ((width as f32 * fraction) as usize).min(width);
    format!("{}{} {:>3.0}%", "━".repeat(filled), "─".repeat(width - filled), (fraction * 100.0).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        let cases = [(0, "0.00s"), (425, "0.42s"), (9_999, "9.99s"), (12_345, "12.3s"), (59_999, "59.9s")];
        for (ms, text) in cases.into_iter().chain([(125_000, "2m 05s"), (3_720_000, "1h 02m")]) {
            assert_eq!(took(ms), text);
        }
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(one_line("\x1b[2Ja\tb\r\nc\x07 "), "a b  c");
    }

    #[test]
    fn an_engine_is_named_once() {
        assert_eq!(engine_at("local", "local:/var/lib"), "local /var/lib");
        assert_eq!(engine_at("docker", "unix:///docker.sock"), "docker unix:///docker.sock");
        assert_eq!(engine_at("sim", "sim:"), "sim");
    }

    #[test]
    fn wide_characters_count_double() {
        assert_eq!(fit("日本語テキスト", 7), "日本語…");
        assert_eq!(wrap("日本語 テキスト and more", 8), ["日本語", "テキスト", "and more"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    }

    #[test]
    fn bars_stay_in_their_columns() {
        assert_eq!(bar(0.5, 4), "━━──  50%");
        for odd in [f32::NAN, f32::INFINITY, -1.0, 7.0] {
            assert_eq!(columns(&bar(odd, 10)), 15, "{odd}");
        }
    }

    proptest::proptest! {
        #[test]
        fn wrapped_lines_fit(text in "\\PC{0,80}", width in 2usize..40) {
            for line in wrap(&text, width) {
                proptest::prop_assert!(columns(&line) <= width, "{line:?}");
            }
        }
    }
}
