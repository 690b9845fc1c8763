//! Readable texts and hints for Rhai's own errors. Knows nothing of positions.

use rhai::{LexError, ParseErrorType};

use super::catalogue::catalogue;
use super::control_function::CONTROL_FUNCTIONS;
use super::reserved::is_reserved;
use super::source::STDLIB;
use crate::base::suggest::did_you_mean;

/// The text of a Rhai error.
pub struct RhaiErrorText {
    /// Stable code of the diagnostic.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl RhaiErrorText {
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

/// Returns the text of a parse error in the script `text`.
pub fn of_parse_error(error: &ParseErrorType, text: &str) -> RhaiErrorText {
    match error {
        ParseErrorType::Reserved(word) | ParseErrorType::BadInput(LexError::ImproperSymbol(word, _))
            if is_reserved(word) =>
        {
            RhaiErrorText::new(SYNTAX, format!("`{word}` is a reserved word")).help(format!(
                "quote it as a map key: `#{{\"{word}\": ...}}`, `map[\"{word}\"]`; otherwise use another name"
            ))
        }
        ParseErrorType::VariableUndefined(name) => undefined(name, text),
        ParseErrorType::ModuleUndefined(name) => {
            let known = STDLIB.iter().find(|(path, _)| path.strip_prefix("std/") == Some(name.as_str()));
            let path = known.map_or("...", |(path, _)| path);
            RhaiErrorText::new(UNKNOWN_NAME, format!("there is no module `{name}`"))
                .help(format!("import it first: `import \"{path}\" as {name};`"))
        }
        ParseErrorType::BadInput(LexError::MalformedChar(text)) => {
            RhaiErrorText::new(SYNTAX, format!("'{text}' is not a single character"))
                .help("write text in double quotes")
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            RhaiErrorText::new(SYNTAX, "this string has no closing quote")
        }
        ParseErrorType::UnexpectedEOF => {
            RhaiErrorText::new(SYNTAX, "unexpected end of the script: a bracket or block is not closed")
        }
        ParseErrorType::ExprTooDeep => RhaiErrorText::new(SYNTAX, "this expression is nested too deep")
            .help("move a part of it into a variable: `let part = ...;`"),
        other => RhaiErrorText::new(SYNTAX, lower_first(&other.to_string())),
    }
}

fn undefined(name: &str, text: &str) -> RhaiErrorText {
    let error_text = RhaiErrorText::new(UNKNOWN_NAME, format!("there is no variable `{name}`"));
    let declared = declared_names(text);
    if declared.contains(&name) {
        return error_text.help("functions cannot see the variables of the script: pass it as an argument");
    }
    if is_function(name) {
        return error_text.help(format!("to call the function, write `{name}(...)`"));
    }
    match did_you_mean(name, declared) {
        Some(hint) => error_text.help(hint),
        None => error_text.help(format!("declare it first: `let {name} = ...;`, or write text in double quotes")),
    }
}

fn is_function(name: &str) -> bool {
    catalogue().contains_key(name) || CONTROL_FUNCTIONS.iter().any(|function| function.name == name)
}

/// Returns the names of all variables that a script declares, regardless of scope.
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

/// Returns the text of a call that no function matches. `signature` is Rhai's `name (type, type)`.
pub fn of_unknown_function(signature: &str) -> RhaiErrorText {
    const CODE: &str = "deployer::script::unknown_function";
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types: Vec<String> =
        types.trim_end_matches(')').split(", ").filter(|kind| !kind.is_empty()).map(phrase).collect();
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
    if !is_name {
        return RhaiErrorText::new(CODE, format!("`{name}` is not defined for {}", types.join(" and ")));
    }
    let message = match types.as_slice() {
        [] => format!("there is no function `{name}` without arguments"),
        _ => format!("there is no function `{name}` for {}", types.join(", ")),
    };
    let error_text = RhaiErrorText::new(CODE, message);
    if let Some(primitive) = catalogue().get(name) {
        return error_text.help(format!("usage: {}", primitive.signature()));
    }
    if let Some(function) = CONTROL_FUNCTIONS.iter().find(|function| function.name == name) {
        return error_text.help(format!("example: {}", function.example));
    }
    match did_you_mean(name, catalogue().keys().copied().chain(CONTROL_FUNCTIONS.iter().map(|function| function.name)))
    {
        Some(hint) => error_text.help(hint),
        None => error_text,
    }
}

/// Returns the name of a Rhai type with its article.
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

/// Returns the text of Rhai's `Unknown property 'y' - ... type 'T'`, or `None` for other messages.
pub fn of_property(message: &str) -> Option<RhaiErrorText> {
    let mut quoted = message.strip_prefix("Unknown property ")?.split('\'').skip(1).step_by(2);
    let (key, kind) = (quoted.next()?, quoted.next()?);
    Some(RhaiErrorText::new("deployer::script::unknown_key", format!("there is no key `{key}` in {}", phrase(kind))))
}

/// Returns the text with its first letter in lower case.
pub fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
