//! What may be removed, as a table, plain lines, or JSON. Removes nothing.

use serde_json::json;

use super::Format;
use super::history::ago;
use super::layout::{between, fit, one_line};
use super::table::{Overflow, Table};
use crate::run::inventory::garbage::{Garbage, Item, Kind};

const HEADINGS: [&str; 4] = ["KIND", "AGE", "NAME", "WHY"];
/// Maximum width of a name.
const NAME_MOST: usize = 28;
const KIB: f64 = 1024.0;

/// What to show, and how.
pub struct GarbageText<'a> {
    /// What may be removed.
    pub garbage: &'a Garbage,
    /// Milliseconds since 1970, UTC.
    pub now_ms: i64,
    /// Columns of the terminal.
    pub width: usize,
    /// Use colours.
    pub colour: bool,
}

impl GarbageText<'_> {
    /// Returns the text in a format.
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Json => format!("{}\n", json!(self.garbage)),
            Format::Plain => self.lines(),
            Format::Pretty => self.table(),
        }
    }

    fn table(&self) -> String {
        if self.garbage.items.is_empty() {
            return self.left_alone();
        }
        let mut table = Table::new(HEADINGS, Overflow::Wrap);
        for item in &self.garbage.items {
            let name = fit(&one_line(&item.name), NAME_MOST).into_owned();
            let why = format!("{}{}", size(item), item.why);
            table.push(vec![item.kind.word().into(), self.age(item).into(), name.into(), why.into()]);
        }
        table.render(self.width, self.colour) + self.left_alone().as_str()
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
