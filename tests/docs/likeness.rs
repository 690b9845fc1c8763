//! Compares what a program printed with what a page shows. Ids, times and widths may differ.

/// Panics with both texts when `printed` is not like `shown`. In `shown`, a line `...` stands for any lines, and ` ...`
/// at the end of a line for the rest of that line.
#[track_caller]
pub fn assert_like(location: &str, shown: &str, printed: &str) {
    let expected: Vec<String> = shown.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let got: Vec<String> = printed.lines().map(plain).filter(|line| !line.is_empty()).collect();
    assert!(like(&expected, &got), "{location} shows\n{shown}\nbut this was printed:\n{printed}");
}

fn like(expected: &[String], got: &[String]) -> bool {
    match expected.split_first() {
        None => got.is_empty(),
        Some((first, rest)) if first == "..." => (0..=got.len()).any(|skipped| like(rest, &got[skipped..])),
        Some((first, rest)) => got.split_first().is_some_and(|(line, below)| fits(first, line) && like(rest, below)),
    }
}

fn fits(expected: &str, got: &str) -> bool {
    expected.strip_suffix(" ...").map_or(expected == got, |beginning| got.starts_with(beginning))
}

/// Returns the line without the parts that differ between runs: ids, durations, numbers of spaces, and the numbers of
/// source lines.
fn plain(line: &str) -> String {
    let is_source = line.contains('│') || line.contains("╭─[");
    let mut out = String::new();
    let mut word = String::new();
    for letter in line.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '.' {
            word.push(letter);
            continue;
        }
        let is_line_number = is_source && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        out.push_str(if is_line_number { "LINE" } else { placeholder(&word) });
        word.clear();
        out.push(letter);
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn placeholder(word: &str) -> &str {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is = |allowed: fn(u8) -> bool| word.bytes().all(allowed);
    let begins_with_digit = word.starts_with(|first: char| first.is_ascii_digit());
    if begins_with_digit
        && word.ends_with(['s', 'm', 'h'])
        && is(|byte| byte.is_ascii_digit() || b".msh".contains(&byte))
    {
        "TIME"
    } else if word.len() == 10 && digits > 0 && is(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()) {
        "RUN"
    } else if word.len() >= 12 && digits > 0 && is(|byte| byte.is_ascii_hexdigit()) {
        "ID"
    } else {
        word
    }
}

#[test]
fn ids_and_times_may_differ_and_words_may_not() {
    assert_like("here", "done in 3.10s\n...\n  run: ycw8qgvdn9", "done in 0.2s\nmore\n\nrun:   kp5bk67qxp\n");
    assert_ne!(plain("done in 3s"), plain("failed in 3s"));
    assert!(!like(&["a".into(), "...".into(), "c".into()], &["a".into(), "b".into()]));
    assert!(!like(&["a".into()], &["a".into(), "b".into()]));
    assert!(fits("run TIME ...", "run TIME and more") && !fits("run ...", "ran and more"));
    assert_ne!(plain("port 8080"), plain("port 8081"));
    assert_eq!(plain("  ╭─[web.rhai:127:14]"), plain("  ╭─[web.rhai:9:1]"));
    assert_eq!(plain(" 126 │ lock(name);"), plain(" 8 │ lock(name);"));
}
