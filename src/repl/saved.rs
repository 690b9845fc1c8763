//! A session as a script: the inputs that went well and still stand, in their order. Text from text.

use std::collections::BTreeMap;

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stands,
    /// All that it changed was taken back.
    TakenBack,
    /// It ended with an error.
    Failed,
    /// Another process took it; the text says in words what it did.
    Former,
}

/// An input and what became of it.
#[derive(Clone, Debug)]
pub struct Input {
    pub text: String,
    pub fate: Fate,
}

/// The script. `head` is its first comment, `before` the imports that come first.
pub fn script(head: &str, before: &[String], inputs: &[Input]) -> String {
    let mut text = format!("// {head}\n");
    for line in before {
        text += &format!("{line}\n");
    }
    // A function may be defined once: the last one counts.
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, input) in inputs.iter().enumerate() {
        if let Some(name) = defined(&input.text) {
            last.insert(name, at);
        }
    }
    for (at, input) in inputs.iter().enumerate() {
        let replaced = defined(&input.text).is_some_and(|name| last.get(&name) != Some(&at));
        match input.fate {
            Fate::Failed => {}
            Fate::Former => text += &commented("before the session was opened again: ", &input.text),
            Fate::TakenBack => text += &commented("taken back: ", &input.text),
            Fate::Stands if replaced || before.contains(&terminated(&input.text)) => {}
            Fate::Stands => text += &format!("{}\n", terminated(&input.text)),
        }
    }
    text
}

/// The name of the function that an input defines.
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
    // What ends with the brace of a block needs none; one too many does no harm.
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
    fn what_stands_becomes_a_script() {
        let input = |text: &str, fate| Input { text: text.into(), fate };
        let inputs = [
            input("import \"std/cutover\" as cutover", Fate::Stands),
            input("let old = docker_list(#{all: true})", Fate::Stands),
            input("docker_remove(\"x\")", Fate::TakenBack),
            input("docker_fly()", Fate::Failed),
            input("fn f(a) { a }", Fate::Stands),
            input("fn f(a) {\n    a + 1\n}", Fate::Stands),
            input("log(f(1));", Fate::Stands),
        ];
        let before = ["import \"std/cutover\" as cutover;".to_owned()];
        insta::assert_snapshot!(script("A session.", &before, &inputs), @r#"
        // A session.
        import "std/cutover" as cutover;
        let old = docker_list(#{all: true});
        // taken back: docker_remove("x")
        fn f(a) {
            a + 1
        }
        log(f(1));
        "#);
    }
}
