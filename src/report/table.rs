//! A table that fits the terminal. Every cell is made safe to print. Knows no entry and no effect.

use super::layout::{Paint, Tone, columns, fit, one_line, wrap};

/// Columns between two cells.
pub const GAP: usize = 2;
/// The last column is never narrower than this when it wraps.
const MIN_WRAP_WIDTH: usize = 12;

/// What happens to a last column that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is cut.
    Cut,
    /// It continues on the next lines.
    Wrap,
}

/// One cell: a text and its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    tone: Tone,
    text: String,
}

impl Cell {
    /// Creates a cell. Escape sequences and control characters are removed from the text.
    pub fn new(tone: Tone, text: &str) -> Self {
        Self { tone, text: one_line(text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Rows of cells below a row of headings.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
    overflow: Overflow,
}

impl Table {
    /// Creates a table with these headings.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>, overflow: Overflow) -> Self {
        let mut table = Self { rows: Vec::new(), widths: Vec::new(), overflow };
        table.push(headings.into_iter().map(|heading| Cell::new(Tone::Quiet, heading)).collect());
        table
    }

    /// Adds a row, with one cell for each heading.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.widths.resize(self.widths.len().max(row.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(columns(&cell.text));
        }
        self.rows.push(row);
    }

    /// Sets the widths of the columns; longer cells are cut.
    #[must_use]
    pub fn with_widths(mut self, widths: Vec<usize>) -> Self {
        self.widths = widths;
        self
    }

    /// Wraps the last column if there is room for it, and cuts it otherwise.
    #[must_use]
    pub fn wrap_if_room(mut self, width: usize) -> Self {
        let fits = self.width_before_last() + MIN_WRAP_WIDTH <= width;
        self.overflow = if fits { Overflow::Wrap } else { Overflow::Cut };
        self
    }

    fn width_before_last(&self) -> usize {
        self.widths.iter().rev().skip(1).map(|width| width + GAP).sum()
    }

    /// Returns the lines of the table, each with a line break, in at most `width` columns.
    pub fn render(&self, width: usize, colour: bool) -> String {
        let paint = Paint { colour };
        let before = self.width_before_last();
        let mut text = String::new();
        for row in &self.rows {
            let Some((last, first)) = row.split_last() else { continue };
            let last_lines = match self.overflow {
                Overflow::Cut => vec![last.text.clone()],
                Overflow::Wrap => wrap(&last.text, width.saturating_sub(before).max(MIN_WRAP_WIDTH)),
            };
            for (number, last_line) in last_lines.iter().enumerate() {
                let mut line = String::new();
                for (cell, width) in first.iter().zip(&self.widths) {
                    let cell_text = fit(if number == 0 { &cell.text } else { "" }, *width);
                    let pad = " ".repeat((width + GAP).saturating_sub(columns(&cell_text)));
                    line = format!("{line}{}{pad}", paint.on(cell.tone, &cell_text));
                }
                let last_width = self.widths.get(row.len() - 1).copied().unwrap_or_default();
                let line = format!("{line}{}", paint.on(last.tone, &fit(last_line, last_width)));
                text = match self.overflow {
                    Overflow::Cut => format!("{text}{}\n", fit(line.trim_end(), width.max(1))),
                    Overflow::Wrap => format!("{text}{}\n", line.trim_end()),
                };
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(overflow: Overflow) -> Table {
        let mut table = Table::new(["NAME", "WHY"], overflow);
        table.push(vec!["web".into(), "no container uses it any more".into()]);
        table.push(vec![Cell::new(Tone::Bad, "\x1b[2Jdaemon\n"), "x".into()]);
        table
    }

    #[test]
    fn the_last_column_is_cut_or_wrapped() {
        assert_eq!(table(Overflow::Cut).render(20, false), "NAME    WHY\nweb     no containe…\ndaemon  x\n");
        let wrapped = "NAME    WHY\nweb     no container\n        uses it any\n        more\ndaemon  x\n";
        assert_eq!(table(Overflow::Wrap).render(21, false), wrapped);
    }

    #[test]
    fn colours_only_add_escapes() {
        for overflow in [Overflow::Cut, Overflow::Wrap] {
            let coloured = table(overflow).render(60, true);
            assert!(coloured.contains("\x1b["), "{coloured}");
            assert_eq!(console::strip_ansi_codes(&coloured), table(overflow).render(60, false));
        }
    }
}
