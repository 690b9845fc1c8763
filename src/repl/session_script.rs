//! Converts a session to a script: its successful inputs that were not undone, in order.

use std::collections::BTreeMap;

/// The status of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputStatus {
    /// It succeeded, and its changes were not undone.
    Active,
    /// All its changes were undone.
    Undone,
    /// It failed.
    Failed,
    /// It was handled by a killed process. Its text is a description of its changes.
    Recovered,
}

/// An input of a session.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its text.
    pub text: String,
    /// Its status.
    pub status: InputStatus,
}

/// Returns the script. `head` is its first comment; `imports` come next.
pub fn script(head: &str, imports: &[String], inputs: &[Input]) -> String {
    let mut text = format!("// {head}\n");
    for line in imports {
        text += &format!("{line}\n");
    }
    // A script can define a function only once: the last definition counts.
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, input) in inputs.iter().enumerate() {
        if let Some(name) = defined(&input.text) {
            last.insert(name, at);
        }
    }
    for (at, input) in inputs.iter().enumerate() {
        let replaced = defined(&input.text).is_some_and(|name| last.get(&name) != Some(&at));
        match input.status {
            InputStatus::Failed => {}
            InputStatus::Recovered => text += &commented("before the session was resumed: ", &input.text),
            InputStatus::Undone => text += &commented("undone: ", &input.text),
            InputStatus::Active if replaced || imports.contains(&terminated(&input.text)) => {}
            InputStatus::Active => text += &format!("{}\n", terminated(&input.text)),
        }
    }
    text
}

/// Returns the name of the function that an input defines.
fn defined(input: &str) -> Option<String> {
    let rest = input.trim_start().strip_prefix("fn ")?;
    let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn terminated(input: &str) -> String {
    let input = input.trim();
    if input.ends_with([';', '}']) && !input.contains("#{") || input.ends_with(';') {
        return input.to_owned();
    }
    // A block needs no semicolon, but an extra one is harmless.
    format!("{input};")
}

fn commented(why: &str, input: &str) -> String {
    let lines = input.trim().lines().enumerate();
    lines.map(|(at, line)| format!("// {}{line}\n", if at == 0 { why } else { "" })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_inputs_become_a_script() {
        let input = |text: &str, status| Input { text: text.into(), status };
        let inputs = [
            input("import \"std/cutover\" as cutover", InputStatus::Active),
            input("let old = docker_list(#{all: true})", InputStatus::Active),
            input("docker_remove(\"x\")", InputStatus::Undone),
            input("docker_fly()", InputStatus::Failed),
            input("fn f(a) { a }", InputStatus::Active),
            input("fn f(a) {\n    a + 1\n}", InputStatus::Active),
            input("log(f(1));", InputStatus::Active),
        ];
        let imports = ["import \"std/cutover\" as cutover;".to_owned()];
        insta::assert_snapshot!(script("A session.", &imports, &inputs), @r#"
        // A session.
        import "std/cutover" as cutover;
        let old = docker_list(#{all: true});
        // undone: docker_remove("x")
        fn f(a) {
            a + 1
        }
        log(f(1));
        "#);
    }
}
