//! Rhai's own messages in words that people understand, with what to do. Knows Rhai's errors and nothing of places.

use rhai::{LexError, ParseErrorType};

use super::catalogue::catalogue;
use super::control::WORDS;
use super::reserved::is_reserved;
use super::source::STDLIB;
use crate::base::suggest::did_you_mean;

/// An error in other words.
pub struct Wording {
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl Wording {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

const SYNTAX: &str = "deployer::script::syntax";
const UNKNOWN_NAME: &str = "deployer::script::unknown_name";

/// A text that does not parse.
pub fn of_parse_error(error: &ParseErrorType, text: &str) -> Wording {
    match error {
        ParseErrorType::Reserved(word) | ParseErrorType::BadInput(LexError::ImproperSymbol(word, _))
            if is_reserved(word) =>
        {
            Wording::new(SYNTAX, format!("`{word}` is a word that the language keeps for itself")).help(format!(
                "as a key write it in quotes: `#{{\"{word}\": ...}}`, `map[\"{word}\"]`; else choose another name"
            ))
        }
        ParseErrorType::VariableUndefined(name) => undefined(name, text),
        ParseErrorType::ModuleUndefined(name) => {
            let known = STDLIB.iter().find(|(path, _)| path.strip_prefix("std/") == Some(name.as_str()));
            let path = known.map_or("...", |(path, _)| path);
            Wording::new(UNKNOWN_NAME, format!("there is no module `{name}`"))
                .help(format!("import it first: `import \"{path}\" as {name};`"))
        }
        ParseErrorType::BadInput(LexError::MalformedChar(text)) => {
            Wording::new(SYNTAX, format!("'{text}' is not one character")).help("text stands in double quotes")
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            Wording::new(SYNTAX, "this text has no end: its closing quote is missing")
        }
        ParseErrorType::UnexpectedEOF => Wording::new(SYNTAX, "the script ends too early: something is not closed"),
        ParseErrorType::ExprTooDeep => {
            Wording::new(SYNTAX, "this is nested too deep").help("give a part of it a name: `let part = ...;`")
        }
        other => Wording::new(SYNTAX, lower_first(&other.to_string())),
    }
}

fn undefined(name: &str, text: &str) -> Wording {
    let wording = Wording::new(UNKNOWN_NAME, format!("there is no variable `{name}`"));
    let declared = declared_names(text);
    if declared.contains(&name) {
        return wording.help("functions do not see the variables of the script: hand it over as an argument");
    }
    if is_function(name) {
        return wording.help(format!("to call the function write `{name}(...)`"));
    }
    match did_you_mean(name, declared) {
        Some(hint) => wording.help(hint),
        None => wording.help(format!("make it first: `let {name} = ...;`; text stands in double quotes")),
    }
}

fn is_function(name: &str) -> bool {
    catalogue().contains_key(name) || WORDS.iter().any(|word| word.name == name)
}

/// The names that a text gives to its variables, wherever they can be seen.
pub fn declared_names(text: &str) -> Vec<&str> {
    let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        if matches!(word, "let" | "const" | "for") {
            names.extend(words.next());
        }
    }
    names
}

/// No function of that name for values of these types. `signature` is Rhai's `name (type, type)`.
pub fn of_unknown_function(signature: &str) -> Wording {
    const CODE: &str = "deployer::script::unknown_function";
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types: Vec<String> =
        types.trim_end_matches(')').split(", ").filter(|kind| !kind.is_empty()).map(phrase).collect();
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
    if !is_name {
        return Wording::new(CODE, format!("`{name}` does not work on {}", types.join(" and ")));
    }
    let message = match types.as_slice() {
        [] => format!("there is no function `{name}` without arguments"),
        _ => format!("there is no function `{name}` for {}", types.join(", ")),
    };
    let wording = Wording::new(CODE, message);
    if let Some(primitive) = catalogue().get(name) {
        return wording.help(format!("it is called as {}", primitive.signature()));
    }
    if let Some(word) = WORDS.iter().find(|word| word.name == name) {
        return wording.help(format!("for example: {}", word.example));
    }
    match did_you_mean(name, catalogue().keys().copied().chain(WORDS.iter().map(|word| word.name))) {
        Some(hint) => wording.help(hint),
        None => wording,
    }
}

/// A type of Rhai's with its article.
fn phrase(kind: &str) -> String {
    match kind {
        "()" => "nothing",
        "i64" => "an integer",
        "f64" => "a float",
        "bool" => "a boolean",
        "char" => "a character",
        "map" => "a map",
        "array" => "a list",
        "Fn" => "a closure",
        "Secret" => "a secret",
        kind if kind.contains("String") || kind.contains("str") => "a string",
        kind if kind.contains("range") || kind.contains("Range") => "a range",
        other => return format!("a {other}"),
    }
    .into()
}

/// A key asked of something that has none: Rhai's `Unknown property 'y' - ... type 'T'`.
pub fn of_property(message: &str) -> Option<Wording> {
    let mut quoted = message.strip_prefix("Unknown property ")?.split('\'').skip(1).step_by(2);
    let (key, kind) = (quoted.next()?, quoted.next()?);
    Some(Wording::new("deployer::script::unknown_key", format!("there is no key `{key}` in {}", phrase(kind))))
}

pub fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
