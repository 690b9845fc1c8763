//! Formats a value for the terminal: lists of maps become tables that fit its width. Knows no effect.

use serde_json::Value;

use crate::report::layout::{Paint, Tone, columns, fit, one_line};
use crate::report::table::{GAP, Overflow, Table};

/// Columns that are shown first.
const FIRST: &[&str] =
    &["name", "service", "state", "exit_code", "health", "image", "tags", "ports", "started_at", "created_at"];
/// Columns that are shown last.
const LAST: &[&str] =
    &["id", "image_id", "labels", "environment", "mounts", "networks", "restart", "oom_killed", "driver"];
/// Minimum width of a column that is cut.
const MIN_WIDTH: usize = 6;
/// Maximum width of a cell.
const MAX_WIDTH: usize = 48;
/// Maximum number of rows.
const MAX_ROWS: usize = 500;

/// Width and colour of the output.
#[derive(Clone, Copy, Debug)]
pub struct TextStyle {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether to use colour.
    pub colour: bool,
}

/// Formats a value. The text ends with a line break, and is empty for `null`.
pub fn shown(value: &Value, style: TextStyle) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(items) if items.is_empty() => "(none)\n".into(),
        Value::Array(items) if items.iter().all(Value::is_object) => table(items, style),
        Value::Array(items) => items.iter().map(|item| line(item, style)).collect(),
        Value::Object(map) => {
            let entries = || map.iter().filter(|(_, value)| !value.is_null());
            let longest = entries().map(|(key, _)| columns(key)).max().unwrap_or(0);
            let room = style.width.saturating_sub(longest + GAP);
            let row = |(key, value): (&String, &Value)| {
                let pad = " ".repeat(longest - columns(key) + GAP);
                let key = Paint { colour: style.colour }.on(Tone::Quiet, key);
                format!("{key}{pad}{}\n", fit(&cell(value), room))
            };
            entries().map(row).collect()
        }
        // A plain string is shown in full.
        Value::String(text) => text.lines().map(|line| format!("{}\n", one_line(line))).collect(),
        other => format!("{other}\n"),
    }
}

fn line(value: &Value, style: TextStyle) -> String {
    match value {
        // Log lines are never cut: the end may be the relevant part.
        Value::String(text) => format!("{}\n", one_line(text)),
        other => format!("{}\n", fit(&cell(other), style.width)),
    }
}

fn table(items: &[Value], style: TextStyle) -> String {
    let all = headings(items);
    let widths: Vec<usize> = all.iter().map(|key| width_of(items, key)).collect();
    let (shown, widths) = fitting(&all, &widths, style.width);
    let headings: Vec<String> = shown.iter().map(|key| key.to_uppercase()).collect();
    let mut table = Table::new(headings.iter().map(String::as_str), Overflow::Cut);
    for item in items.iter().take(MAX_ROWS) {
        table.push(shown.iter().map(|key| cell(&item[*key]).into()).collect());
    }
    let mut text = table.with_widths(widths).render(style.width, style.colour);
    if items.len() > MAX_ROWS {
        text += &format!("... and {} more\n", items.len() - MAX_ROWS);
    }
    let hidden: Vec<&str> = all.into_iter().filter(|key| !shown.contains(key)).collect();
    if !hidden.is_empty() {
        let hidden = format!("also: {}", hidden.join(", "));
        text += &(Paint { colour: style.colour }.on(Tone::Quiet, &fit(&hidden, style.width)) + "\n");
    }
    text
}

/// Returns the keys that have a value in any row, in display order.
fn headings(items: &[Value]) -> Vec<&str> {
    let mut keys: Vec<&str> = Vec::new();
    for (key, value) in items.iter().filter_map(Value::as_object).flatten() {
        if !is_empty(value) && !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let rank = |key: &str| match (FIRST.iter().position(|first| *first == key), LAST.contains(&key)) {
        (Some(at), _) => at,
        (None, false) => FIRST.len(),
        (None, true) => FIRST.len() + 1,
    };
    keys.sort_by_key(|key| rank(key));
    keys
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn width_of(items: &[Value], key: &str) -> usize {
    let widest = items.iter().take(MAX_ROWS).map(|item| columns(&cell(&item[key]))).max().unwrap_or(0);
    widest.max(columns(key)).min(MAX_WIDTH)
}

/// Returns the columns that fit and their widths. The first one always fits.
fn fitting<'a>(keys: &[&'a str], widths: &[usize], room: usize) -> (Vec<&'a str>, Vec<usize>) {
    let (mut shown, mut given) = (Vec::new(), Vec::new());
    let mut left = room;
    for (key, width) in keys.iter().zip(widths) {
        let gap = if shown.is_empty() { 0 } else { GAP };
        let space = left.saturating_sub(gap);
        // The last columns are useless when they are cut.
        let needed = if LAST.contains(key) { *width } else { (*width).min(MIN_WIDTH.max(columns(key))) };
        if space < needed && !shown.is_empty() {
            break;
        }
        let width = (*width).min(space.max(1));
        shown.push(*key);
        given.push(width);
        left = space.saturating_sub(width);
    }
    (shown, given)
}

/// Formats a value on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => instant(one_line(text).trim_start_matches("sha256:")),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(map) => match (&map.get("host_port"), &map.get("container_port")) {
            (Some(host), Some(container)) => format!("{host}:{container}"),
            _ => {
                let parts = map.iter().map(|(key, value)| format!("{key}={}", cell(value)));
                parts.collect::<Vec<_>>().join(" ")
            }
        },
        other => other.to_string(),
    }
}

/// Formats a timestamp to the second. Returns other text unchanged.
fn instant(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value, width: usize) -> String {
        shown(value, TextStyle { width, colour: false })
    }

    #[test]
    fn lists_of_maps_are_tables_that_fit() {
        let ports = json!([{"address": "0.0.0.0", "host_port": 8080, "container_port": 5000, "protocol": "tcp"}]);
        let list = json!([
            {"id": "f".repeat(64), "name": "web", "state": "running", "image": "web:v2", "ports": ports, "health": null},
            {"id": "e".repeat(64), "name": "web-old-2024", "state": "exited", "image": "registry.example.com/web:v1", "ports": []},
        ]);
        insta::assert_snapshot!(text(&list, 100), @r"
        NAME          STATE    IMAGE                        PORTS
        web           running  web:v2                       8080:5000
        web-old-2024  exited   registry.example.com/web:v1
        also: id
        ");
        insta::assert_snapshot!(text(&list, 40), @r"
        NAME          STATE    IMAGE
        web           running  web:v2
        web-old-2024  exited   registry.example…
        also: ports, id
        ");
    }

    #[test]
    fn other_values_are_shown_plainly() {
        assert_eq!(text(&json!({"a": 1, "long": [1, "x"]}), 40), "a     1\nlong  1, x\n");
        assert_eq!(text(&json!("two\nlines"), 40), "two\nlines\n");
        assert_eq!(text(&json!(null), 40), "");
        assert_eq!(text(&json!([]), 40), "(none)\n");
        assert_eq!(text(&json!(["a", 2]), 40), "a\n2\n");
        assert_eq!(text(&json!(["a line that is long"]), 10), "a line that is long\n");
        assert_eq!(text(&json!("\x1b[2Jx"), 40), "x\n");
    }

    proptest::proptest! {
        #[test]
        fn tables_stay_in_their_columns(names in proptest::collection::vec("\\PC{0,80}", 1..5), width in 20usize..120) {
            let list: Vec<Value> = names.iter().map(|name| json!({"name": name, "state": "running", "id": "f"})).collect();
            for line in text(&json!(list), width).lines() {
                proptest::prop_assert!(columns(line) <= width, "{line:?}");
            }
        }
    }
}
