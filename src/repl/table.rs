//! A value as text for people: lists of maps as tables that fit the terminal. Knows no effect.

use serde_json::Value;

use crate::report::layout::{Paint, Tone, columns, fit, one_line};

/// Columns that come first where they are there; what people look for.
const FIRST: &[&str] =
    &["name", "service", "state", "exit_code", "health", "image", "tags", "ports", "started_at", "created_at"];
/// Columns that nobody reads in a list.
const LAST: &[&str] = &["id", "image_id", "labels", "environment", "mounts", "networks", "oom_killed", "driver"];
/// Columns between columns.
const GAP: usize = 2;
/// A column is never cut shorter than this.
const LEAST: usize = 6;
/// A cell is never wider.
const WIDEST: usize = 48;
/// Rows of one table.
const ROWS: usize = 500;

/// What the text must fit.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub width: usize,
    pub colour: bool,
}

/// The value as text that ends with a line break; nothing for nothing.
pub fn shown(value: &Value, look: Look) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(items) if items.is_empty() => "(none)\n".into(),
        Value::Array(items) if items.iter().all(Value::is_object) => table(items, look),
        Value::Array(items) => items.iter().map(|item| line(item, look)).collect(),
        Value::Object(map) => {
            let told = || map.iter().filter(|(_, value)| !value.is_null());
            let longest = told().map(|(key, _)| columns(key)).max().unwrap_or(0);
            let room = look.width.saturating_sub(longest + GAP);
            let one = |(key, value): (&String, &Value)| {
                let pad = " ".repeat(longest - columns(key) + GAP);
                let key = Paint { colour: look.colour }.on(Tone::Quiet, key);
                format!("{key}{pad}{}\n", fit(&cell(value), room))
            };
            told().map(one).collect()
        }
        // What was asked for itself is shown as it is.
        Value::String(text) => text.lines().map(|line| format!("{}\n", one_line(line))).collect(),
        other => format!("{other}\n"),
    }
}

fn line(value: &Value, look: Look) -> String {
    match value {
        // Lines of a log, say: what is cut away may be what was looked for.
        Value::String(text) => format!("{}\n", one_line(text)),
        other => format!("{}\n", fit(&cell(other), look.width)),
    }
}

fn table(items: &[Value], look: Look) -> String {
    let all = headings(items);
    let widths: Vec<usize> = all.iter().map(|key| width_of(items, key)).collect();
    let (shown, widths) = fitting(&all, &widths, look.width);
    let paint = Paint { colour: look.colour };
    let heads: Vec<String> = shown.iter().map(|key| key.to_uppercase()).collect();
    let row = |cells: &[String]| {
        let line: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| padded(cell, *width)).collect();
        line.join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let mut text = paint.on(Tone::Strong, &row(&heads)) + "\n";
    for item in items.iter().take(ROWS) {
        let cells: Vec<String> = shown.iter().map(|key| cell(&item[*key])).collect();
        text += &(row(&cells) + "\n");
    }
    if items.len() > ROWS {
        text += &format!("... and {} more\n", items.len() - ROWS);
    }
    let hidden: Vec<&str> = all.into_iter().filter(|key| !shown.contains(key)).collect();
    if !hidden.is_empty() {
        let told = format!("also: {}", hidden.join(", "));
        text += &(paint.on(Tone::Quiet, &fit(&told, look.width)) + "\n");
    }
    text
}

/// All keys that say something in any row, those that matter first.
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
    let widest = items.iter().take(ROWS).map(|item| columns(&cell(&item[key]))).max().unwrap_or(0);
    widest.max(columns(key)).min(WIDEST)
}

/// The columns that fit, and their widths. The first always does.
fn fitting<'a>(keys: &[&'a str], widths: &[usize], room: usize) -> (Vec<&'a str>, Vec<usize>) {
    let (mut shown, mut given) = (Vec::new(), Vec::new());
    let mut left = room;
    for (key, width) in keys.iter().zip(widths) {
        let gap = if shown.is_empty() { 0 } else { GAP };
        let space = left.saturating_sub(gap);
        // Nobody reads what is left of these.
        let wanted = if LAST.contains(key) { *width } else { (*width).min(LEAST.max(columns(key))) };
        if space < wanted && !shown.is_empty() {
            break;
        }
        let width = (*width).min(space.max(1));
        shown.push(*key);
        given.push(width);
        left = space.saturating_sub(width);
    }
    (shown, given)
}

fn padded(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let pad = " ".repeat(width.saturating_sub(columns(&text)));
    format!("{text}{pad}")
}

/// A value on one line.
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

/// An instant to the second; any other text as it is.
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
        shown(value, Look { width, colour: false })
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
