//! Makes the output of two runs comparable: replaces run ids, durations and other texts that differ.

/// Replaces run ids with `RUN`, container ids with `ID`, durations with `TIME`, and each `value` of `known` with `[name]`.
pub fn normalize(text: &str, known: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (value, name) in known {
        text = text.replace(value, &format!("[{name}]"));
    }
    let mut result = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || (c == '.' && word.ends_with(|last: char| last.is_ascii_digit())) {
            word.push(c);
        } else {
            let dot = if word.ends_with('.') { word.pop() } else { None };
            result.push_str(placeholder(&word).unwrap_or(&word));
            result.extend(dot);
            result.push(c);
            word.clear();
        }
    }
    result.pop();
    let mut lines: Vec<_> = result.lines().map(str::trim_end).collect();
    // The number of restarts of a crashing app varies, and so does the number of equal lines in its log.
    lines.dedup();
    lines.join("\n").trim().to_owned()
}

fn placeholder(word: &str) -> Option<&'static str> {
    let is_run_id = word.len() == 10
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().all(|byte| byte.is_ascii_digit() || (byte.is_ascii_lowercase() && !b"ilou".contains(&byte)));
    if is_run_id {
        return Some("RUN");
    }
    if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("ID");
    }
    let number = ["ms", "us", "s", "m"].iter().find_map(|unit| word.strip_suffix(unit))?;
    number.parse::<f64>().is_ok().then_some("TIME")
}
