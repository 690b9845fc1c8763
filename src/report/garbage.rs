//! What may go, as text: a list that fits the terminal, plain lines, or JSON. Removes nothing.

use serde_json::json;

use super::Format;
use super::history::ago;
use super::layout::{Paint, Tone, between, columns, fit, one_line, wrap};
use crate::run::census::garbage::{Garbage, Item, Kind};

const HEADS: [&str; 4] = ["KIND", "AGE", "NAME", "WHY"];
/// Columns of a name at the most, where there is a reason beside it.
const NAME_MOST: usize = 28;
const GAP: usize = 2;
/// Columns for the reason at the least.
const LEAST_WHY: usize = 12;
const KIB: f64 = 1024.0;

/// What is shown, and on what.
pub struct GarbageText<'a> {
    pub garbage: &'a Garbage,
    /// Milliseconds since 1970, UTC.
    pub now_ms: i64,
    pub width: usize,
    pub colour: bool,
}

impl GarbageText<'_> {
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Json => format!("{}\n", json!(self.garbage)),
            Format::Plain => self.lines(),
            Format::Pretty => self.table(),
        }
    }

    fn table(&self) -> String {
        let paint = Paint { colour: self.colour };
        let row = |item: &Item| {
            let why = format!("{}{}", size(item), item.why);
            [item.kind.word().into(), self.age(item), fit(&one_line(&item.name), NAME_MOST).into_owned(), why]
        };
        let rows: Vec<[String; 4]> = self.garbage.items.iter().map(row).collect();
        let heads = HEADS.map(str::to_owned);
        let mut text = String::new();
        if !rows.is_empty() {
            let all = || std::iter::once(&heads).chain(&rows);
            let widths = [0, 1, 2, 3].map(|at| all().map(|row| columns(&row[at])).max().unwrap_or_default());
            let before: usize = widths[..3].iter().map(|width| width + GAP).sum();
            for (at, row) in all().enumerate() {
                let tone = if at == 0 { Tone::Quiet } else { Tone::Plain };
                for (line, why) in wrap(&row[3], self.width.saturating_sub(before).max(LEAST_WHY)).iter().enumerate() {
                    let cells = row[..3].iter().zip(widths).map(|(cell, width)| {
                        let cell = if line == 0 { cell } else { "" };
                        let pad = " ".repeat((width + GAP).saturating_sub(columns(cell)));
                        format!("{}{pad}", paint.on(tone, cell))
                    });
                    let cells: String = cells.collect();
                    text += format!("{cells}{}", paint.on(tone, why)).trim_end();
                    text.push('\n');
                }
            }
        }
        text + self.left_alone().as_str()
    }

    fn lines(&self) -> String {
        let line = |item: &Item| {
            let (kind, age) = (item.kind.word(), self.age(item));
            format!("{kind} {}: {}{}, {age}\n", one_line(&item.name), size(item), item.why)
        };
        self.garbage.items.iter().map(line).collect::<String>() + self.left_alone().as_str()
    }

    fn left_alone(&self) -> String {
        self.garbage.left_alone.iter().map(|why| format!("left alone {}\n", one_line(why))).collect()
    }

    fn age(&self, item: &Item) -> String {
        match item.made_at.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok()) {
            Some(at) => ago(between(at.as_millisecond(), self.now_ms)),
            None => "?".into(),
        }
    }
}

fn size(item: &Item) -> String {
    match (item.kind, item.size) {
        #[allow(clippy::cast_precision_loss, reason = "megabytes with one digit, for people")]
        (Kind::Image, Some(bytes)) => format!("{:.1} MiB, ", bytes as f64 / KIB / KIB),
        _ => String::new(),
    }
}
