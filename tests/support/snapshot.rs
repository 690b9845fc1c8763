//! Makes two runs' texts comparable: run ids, durations and whatever else the test knows to differ.

/// Replaces run ids by `RUN`, container ids by `ID`, durations by `TIME`, and each `(value, name)` of `known` by `[name]`.
pub fn normal(text: &str, known: &[(&str, &str)]) -> String {
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
    // How often an app that dies was started again is chance; so is how often it says the same.
    lines.dedup();
    lines.join("\n").trim().to_owned()
}

fn placeholder(word: &str) -> Option<&'static str> {
    let id = word.len() == 10
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().all(|byte| byte.is_ascii_digit() || (byte.is_ascii_lowercase() && !b"ilou".contains(&byte)));
    if id {
        return Some("RUN");
    }
    if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("ID");
    }
    let number = ["ms", "us", "s", "m"].iter().find_map(|unit| word.strip_suffix(unit))?;
    number.parse::<f64>().is_ok().then_some("TIME")
}
