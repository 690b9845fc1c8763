//! Completion at the cursor: functions, options and names from the engine. Pure; performs no effect.

use super::command::COMMANDS;
use super::engine_names::EngineNames;
use super::tokens::{Kind, Token, tokens};
use crate::script::catalogue::catalogue;
use crate::script::control_function::CONTROL_FUNCTIONS;
use crate::script::primitive::Primitive;

/// Maximum number of candidates.
const MAX_CANDIDATES: usize = 200;

/// Rhai keywords that are completed.
const KEYWORDS: &[&str] = &[
    "let", "const", "if", "else", "for", "in", "while", "loop", "fn", "return", "throw", "try", "catch", "switch",
    "import", "as", "true", "false", "print",
];

/// A replacement for the bytes `start..end` of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The text to insert.
    pub value: String,
    /// First byte to replace.
    pub start: usize,
    /// End of the bytes to replace.
    pub end: usize,
    /// Description, possibly empty.
    pub note: String,
}

/// Names that can be completed, besides the language.
#[derive(Clone, Copy, Debug)]
pub struct CompletionNames<'a> {
    /// Names from the engine.
    pub names: &'a EngineNames,
    /// Variables of the session.
    pub variables: &'a [String],
    /// Functions of the session.
    pub functions: &'a [String],
}

/// An open bracket before the cursor: of a call, a map or a list.
#[derive(Default)]
struct Frame {
    call: Option<&'static Primitive>,
    map: bool,
    argument: usize,
    key: Option<String>,
    keys: Vec<String>,
}

/// Returns the candidates at byte `pos`, best first.
pub fn complete(input: &str, pos: usize, known: CompletionNames<'_>) -> Vec<Candidate> {
    let Some(before) = input.get(..pos) else { return Vec::new() };
    let mut found = match before.trim_start().strip_prefix(':') {
        Some(command) => complete_command(before, command, known),
        None => complete_expression(before, 0, known),
    };
    found.truncate(MAX_CANDIDATES);
    found
}

/// Returns the signature of the innermost call at the end of the input, as a hint.
pub fn signature(input: &str) -> Option<String> {
    let all = tokens(input);
    let frames = frames(input, &all);
    let primitive = frames.iter().rev().find_map(|frame| frame.call)?;
    let is_empty = all.last().is_some_and(|last| last.of(input) == "(");
    let call = primitive.signature();
    let inside = call.split_once('(').map_or("", |(_, inside)| inside).trim_end_matches(')');
    Some(if is_empty { format!("{inside})") } else { format!("   {call}") })
}

fn complete_command(before: &str, command: &str, known: CompletionNames<'_>) -> Vec<Candidate> {
    let Some((name, rest)) = command.split_once(' ') else {
        let start = before.len() - command.len() - 1;
        let commands = COMMANDS.iter().map(|command| (command.name.to_owned(), command.summary.to_owned()));
        return matching(&before[start..], start, before.len(), commands);
    };
    let start = before.len() - rest.trim_start().len();
    match name {
        "plan" => complete_expression(before, start, known),
        "help" => matching(&before[start..], start, before.len(), callable()),
        "logs" => matching(&before[start..], start, before.len(), plain(&known.names.containers)),
        _ => Vec::new(),
    }
}

/// Completes an expression that starts at byte `from`.
fn complete_expression(before: &str, from: usize, known: CompletionNames<'_>) -> Vec<Candidate> {
    let input = &before[from..];
    let all = tokens(input);
    let typed = all.last().copied().filter(|last| last.end == input.len());
    let (done, partial) = match typed {
        Some(last) if matches!(last.kind, Kind::Word | Kind::Text { closed: false }) => {
            (&all[..all.len() - 1], Some(last))
        }
        Some(last) if matches!(last.kind, Kind::Comment { .. } | Kind::Text { .. } | Kind::Number) => {
            let _ = last;
            return Vec::new();
        }
        _ => (&all[..], None),
    };
    let frames = frames(input, done);
    let frame = frames.last();
    let end = before.len();
    if let Some(Token { kind: Kind::Text { .. }, start, .. }) = partial {
        let expected = frame.and_then(|frame| expected_names(frame, known.names)).unwrap_or_default();
        return matching(&input[start + 1..], from + start + 1, end, plain(expected));
    }
    let start = from + partial.map_or(input.len(), |token| token.start);
    let word = &before[start..];
    if let Some(frame) = frame.filter(|frame| frame.map && frame.key.is_none()) {
        return match frame.call {
            Some(primitive) => matching(word, start, end, option_keys(primitive, &frame.keys)),
            None => Vec::new(),
        };
    }
    let mut found = Vec::new();
    if let Some(expected) = frame.and_then(|frame| expected_names(frame, known.names)) {
        found.extend(matching(word, start, end, expected.iter().map(|name| (format!("\"{name}\""), String::new()))));
    }
    // After a dot comes a property, whose names are unknown.
    if word.is_empty() || done.last().is_some_and(|last| last.of(input) == ".") {
        return found;
    }
    found.extend(matching(word, start, end, plain(known.variables)));
    found.extend(matching(word, start, end, plain(known.functions)));
    found.extend(matching(word, start, end, callable()));
    found.extend(matching(word, start, end, KEYWORDS.iter().map(|word| ((*word).to_owned(), String::new()))));
    found.dedup_by(|a, b| a.value == b.value);
    found
}

/// Returns the open brackets after these tokens, outermost first.
fn frames(input: &str, all: &[Token]) -> Vec<Frame> {
    let mut open: Vec<Frame> = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).and_then(|at| all.get(at));
        match (token.kind, token.of(input)) {
            (Kind::Sign, "(") => {
                let name = before(1).filter(|token| token.kind == Kind::Word).map(|token| token.of(input));
                open.push(Frame { call: name.and_then(|name| catalogue().get(name)), ..Frame::default() });
            }
            (Kind::Sign, "{") => {
                let map = before(1).is_some_and(|token| token.of(input) == "#");
                let direct = open.last().filter(|frame| map && !frame.map).and_then(|frame| frame.call);
                open.push(Frame { call: direct, map, ..Frame::default() });
            }
            (Kind::Sign, "[") => {
                // Items of a list have the type of its option.
                let (call, key, argument) =
                    open.last().map_or((None, None, 0), |frame| (frame.call, frame.key.clone(), frame.argument));
                open.push(Frame { call, map: key.is_some(), argument, key, keys: Vec::new() });
            }
            (Kind::Sign, ")" | "}" | "]") => drop(open.pop()),
            (Kind::Sign, ",") => {
                if let Some(frame) = open.last_mut() {
                    let list = frame.map && frame.keys.is_empty() && frame.key.is_some();
                    frame.argument += usize::from(!frame.map);
                    if !list {
                        frame.key = None;
                    }
                }
            }
            (Kind::Sign, ":") => {
                if let Some(frame) = open.last_mut().filter(|frame| frame.map) {
                    let key = before(1).map_or("", |token| token.of(input)).trim_matches('"').to_owned();
                    frame.keys.push(key.clone());
                    frame.key = Some(key);
                }
            }
            _ => {}
        }
    }
    open
}

/// Returns the names that fit at the cursor; `None` if it expects no name from the engine.
fn expected_names<'a>(frame: &Frame, names: &'a EngineNames) -> Option<&'a [String]> {
    let primitive = frame.call?;
    let option = match (&frame.key, frame.map) {
        (Some(key), _) => primitive.options.iter().find(|option| option.name == key.as_str())?,
        (None, false) => {
            let name = primitive.positional.get(frame.argument)?;
            primitive.options.iter().find(|option| option.name == *name)?
        }
        (None, true) => return None,
    };
    let category = primitive.name.split('_').next().unwrap_or_default();
    match (option.name, category) {
        _ if option.kind == "container" => Some(&names.containers),
        ("service", _) => Some(&names.services),
        ("image", _) => Some(&names.images),
        ("name", _) if primitive.name == "docker_images" => Some(&names.images),
        ("name", _) if primitive.name == "docker_list" => Some(&names.containers),
        ("volume" | "volumes", _) => Some(&names.volumes),
        ("network" | "networks", _) => Some(&names.networks),
        ("name" | "from" | "to", "volume") => Some(&names.volumes),
        ("name", "network") => Some(&names.networks),
        _ => None,
    }
}

fn option_keys(primitive: &'static Primitive, given: &[String]) -> impl Iterator<Item = (String, String)> {
    let open = primitive.options.iter().filter(|option| given.iter().all(|key| key != option.name));
    open.map(|option| (format!("{}: ", option.name), format!("{}: {}", option.kind, option.doc)))
        .collect::<Vec<_>>()
        .into_iter()
}

fn callable() -> impl Iterator<Item = (String, String)> {
    let primitives = catalogue().values().map(|primitive| (primitive.name.to_owned(), primitive.summary.to_owned()));
    primitives.chain(CONTROL_FUNCTIONS.iter().map(|function| (function.name.to_owned(), function.summary.to_owned())))
}

fn plain(names: &[String]) -> impl Iterator<Item = (String, String)> {
    names.iter().map(|name| (name.clone(), String::new()))
}

/// Returns the values that start with `typed`, then those that contain it.
fn matching(typed: &str, start: usize, end: usize, all: impl Iterator<Item = (String, String)>) -> Vec<Candidate> {
    let bare = |value: &str| value.trim_start_matches('"').to_lowercase();
    let typed = typed.to_lowercase();
    let of = |(value, note): (String, String)| Candidate { value, start, end, note };
    let (first, rest): (Vec<_>, Vec<_>) = all.partition(|(value, _)| bare(value).starts_with(&typed));
    let holding = rest.into_iter().filter(|(value, _)| typed.len() > 1 && bare(value).contains(&typed));
    first.into_iter().chain(holding).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(input: &str) -> Vec<String> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names = EngineNames {
            containers: list(&["web", "web-old", "db"]),
            images: list(&["web:v1", "web:v2"]),
            volumes: list(&["data"]),
            networks: list(&["front"]),
            services: list(&["shop"]),
        };
        let (variables, functions) = (list(&["webhook"]), list(&["greet"]));
        let known = CompletionNames { names: &names, variables: &variables, functions: &functions };
        complete(input, input.len(), known).into_iter().map(|candidate| candidate.value).collect()
    }

    #[test]
    fn offers_names_that_fit_the_option() {
        assert_eq!(offered("docker_st")[..3], ["docker_start", "docker_stats", "docker_stop"]);
        assert_eq!(offered("docker_stop(\"we"), ["web", "web-old"]);
        assert_eq!(offered("docker_stop("), ["\"web\"", "\"web-old\"", "\"db\""]);
        assert_eq!(offered("docker_stop(\"web\", #{gr"), ["grace: "]);
        assert!(!offered("docker_stop(\"web\", #{grace: \"1s\", ").contains(&"grace: ".to_owned()));
        assert_eq!(offered("docker_run(#{name: \"x\", image: \""), ["web:v1", "web:v2"]);
        assert_eq!(offered("docker_run(#{networks: [\"fr"), ["front"]);
        assert_eq!(offered("docker_list(#{service: \"s"), ["shop"]);
        assert_eq!(offered("volume_remove(\"d"), ["data"]);
    }

    #[test]
    fn offers_variables_functions_and_commands() {
        assert_eq!(offered("webh"), ["webhook"]);
        assert_eq!(offered("let x = gre"), ["greet"]);
        assert_eq!(offered(":se"), [":services"]);
        assert_eq!(offered(":logs web-"), ["web-old"]);
        assert_eq!(offered(":help docker_ren"), ["docker_rename"]);
        assert_eq!(offered(":plan docker_stop(\"d"), ["db"]);
        assert!(offered("// docker").is_empty() && offered("x.docker").is_empty() && offered("12").is_empty());
    }

    #[test]
    fn hints_show_the_signature_of_the_enclosing_call() {
        assert_eq!(signature("docker_logs("), Some("container, #{tail})".into()));
        assert_eq!(signature("docker_logs(\"web\", #{"), Some("   docker_logs(container, #{tail})".into()));
        assert_eq!(signature("1 + (2"), None);
        assert_eq!(signature("docker_logs(\"web\")"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(input in "[a-z_#{}()\\[\\]:,\"é ]{0,40}") {
            offered(&input);
            signature(&input);
        }
    }
}
