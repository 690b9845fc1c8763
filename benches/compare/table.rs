//! A table of results, with median and percentiles.

use std::time::Duration;

pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let head = std::iter::once(title).chain(columns.iter().copied()).map(str::to_owned).collect();
        Self { rows: vec![head] }
    }

    pub fn row(&mut self, name: &str, cells: &[String]) {
        self.rows.push(std::iter::once(name.to_owned()).chain(cells.iter().cloned()).collect());
    }

    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        println!();
        for (n, row) in self.rows.iter().enumerate() {
            let cells: Vec<_> =
                row.iter().enumerate().map(|(i, cell)| format!("{cell:<width$}", width = width(i))).collect();
            println!("| {} |", cells.join(" | "));
            if n == 0 {
                let lines: Vec<_> = (0..columns).map(|column| "-".repeat(width(column))).collect();
                println!("| {} |", lines.join(" | "));
            }
        }
    }
}

/// A percentile of sorted times.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    percentile(&sorted, 50)
}
