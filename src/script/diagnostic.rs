//! Errors of scripts as people read them: what happened, the user's own line first, then the lines of the modules
//! below, and what to do.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use rhai::{Dynamic, EvalAltResult, Map, ParseError, Position};
use serde_json::Value;

use super::source::SourceMap;
use super::value::{from_json, to_json};
use super::wording::{Wording, lower_first, of_parse_error, of_property, of_unknown_function};
use crate::effect::{Applied, EffectError, ErrorKind};

/// The map that a script's `catch` gets for a failed primitive.
pub fn error_value(primitive: &str, error: &EffectError) -> Dynamic {
    let mut value = serde_json::to_value(error).unwrap_or(Value::Null);
    if let Value::Object(map) = &mut value {
        map.insert("primitive".into(), primitive.into());
        // So that scripts can write `e.hint` without asking first.
        for key in ["hint", "detail"] {
            map.entry(key).or_insert(Value::Null);
        }
    }
    from_json(value)
}

/// One diagnostic with the places that belong to it.
#[derive(Debug)]
pub struct ScriptDiagnostic {
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    related: Vec<ScriptDiagnostic>,
    /// The effect's error, where one lies behind it.
    pub error: Option<EffectError>,
    warning: bool,
}

impl fmt::Display for ScriptDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScriptDiagnostic {}

impl Diagnostic for ScriptDiagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.warning {
            true => miette::Severity::Warning,
            false if self.code == BELOW => miette::Severity::Advice,
            false => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() { None } else { Some(Box::new(self.labels.iter().cloned())) }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|related| related as &dyn Diagnostic)))
    }
}

impl ScriptDiagnostic {
    /// A diagnostic without a place.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: None,
            source: None,
            labels: Vec::new(),
            related: Vec::new(),
            error: None,
            warning: false,
        }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn warning(mut self) -> Self {
        self.warning = true;
        self
    }

    pub fn is_warning(&self) -> bool {
        self.warning
    }

    /// Points at a place of a text.
    pub fn at(mut self, name: &str, text: &str, position: Position, label: impl Into<String>) -> Self {
        if let Some((offset, length)) = span(text, position) {
            self.source = Some(NamedSource::new(name, text.to_owned()).with_language("Rust"));
            self.labels = vec![LabeledSpan::new_primary_with_span(Some(label.into()), (offset, length))];
        }
        self
    }
}

/// The bytes of the token at a position: Rhai tells only where it starts, in characters from 1.
pub fn span(text: &str, position: Position) -> Option<(usize, usize)> {
    let line = position.line()?;
    let column = position.position().unwrap_or(1);
    let mut start = 0;
    for (number, content) in text.split_inclusive('\n').enumerate() {
        if number + 1 == line {
            let content = content.trim_end_matches(['\n', '\r']);
            let offset = content.char_indices().nth(column - 1).map_or(content.len(), |(offset, _)| offset);
            return Some((start + offset, token_length(&content[offset..])));
        }
        start += content.len();
    }
    Some((text.len(), 0))
}

fn token_length(rest: &str) -> usize {
    let Some(first) = rest.chars().next() else { return 0 };
    let word = |c: char| c.is_alphanumeric() || c == '_';
    match first {
        '"' | '`' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
        c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
        c => c.len_utf8(),
    }
}

/// A text that does not parse.
pub fn parse_diagnostic(error: &ParseError, name: &str, text: &str) -> ScriptDiagnostic {
    worded(of_parse_error(&error.0, text)).at(name, text, error.1, "here")
}

/// Lines between two frames that are still shown in one picture.
const NEAR_LINES: usize = 8;

/// Marks what only tells where an error came from.
const BELOW: &str = "deployer::script::below";

fn worded(wording: Wording) -> ScriptDiagnostic {
    let mut diagnostic = ScriptDiagnostic::new(wording.code, wording.message);
    diagnostic.help = wording.help;
    diagnostic
}

/// One frame of the way to an error.
struct Frame {
    source: String,
    position: Position,
    label: String,
}

/// An error of a running script, with the frames from the script down to where it arose. `fatal` is why it was ended,
/// where Rhai's own error does not tell.
pub fn runtime_diagnostic(
    error: &EvalAltResult,
    fatal: Option<&EffectError>,
    script: &str,
    sources: &SourceMap,
) -> ScriptDiagnostic {
    let mut frames = Vec::new();
    let root = unfold(error, script.to_owned(), sources, &mut frames);
    let mut diagnostic = fatal.map_or_else(|| describe(root), effect_diagnostic);
    if let Some(last) = frames.last_mut() {
        last.label = "here".into();
    }
    // One picture of the user's script: the innermost line, and callers that stand near it.
    let innermost = frames.iter().rfind(|frame| frame.source == script).and_then(|frame| frame.position.line());
    let near = |frame: &&Frame| {
        let line = frame.position.line().unwrap_or(0);
        frame.source == script && innermost.is_some_and(|innermost| line.abs_diff(innermost) <= NEAR_LINES)
    };
    let (own, below): (Vec<&Frame>, Vec<&Frame>) = frames.iter().partition(near);
    place(&mut diagnostic, &own, sources);
    diagnostic.related = below
        .iter()
        .map(|frame| {
            let message = if frame.source == script {
                format!("which was called in `{script}`")
            } else {
                format!("which came from `{}`", frame.source)
            };
            let mut related = ScriptDiagnostic::new(BELOW, message);
            place(&mut related, &[frame], sources);
            related
        })
        .collect();
    diagnostic
}

fn place(diagnostic: &mut ScriptDiagnostic, frames: &[&Frame], sources: &SourceMap) {
    let Some(text) = frames.first().and_then(|frame| sources.text(&frame.source)) else { return };
    diagnostic.labels = frames
        .iter()
        .filter_map(|frame| {
            let (offset, length) = span(&text, frame.position)?;
            Some(LabeledSpan::new_with_span(Some(frame.label.clone()), (offset, length)))
        })
        .collect();
    diagnostic.source = Some(NamedSource::new(&frames[0].source, text.to_string()).with_language("Rust"));
}

fn unfold<'a>(
    error: &'a EvalAltResult,
    source: String,
    sources: &SourceMap,
    frames: &mut Vec<Frame>,
) -> &'a EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(function, callee, inner, position) => {
            let anonymous = function.starts_with("anon$");
            let label =
                if anonymous { "in the closure called here".into() } else { format!("in the call of `{function}`") };
            if !position.is_none() {
                frames.push(Frame { source: source.clone(), position: *position, label });
            }
            // For a closure Rhai names the source of its caller; it was written elsewhere.
            let within = if anonymous { sources.closure_source(function) } else { None };
            let within = within.unwrap_or_else(|| if callee.is_empty() { source } else { callee.clone() });
            unfold(inner, within, sources, frames)
        }
        EvalAltResult::ErrorInModule(module, inner, position) => {
            frames.push(Frame { source, position: *position, label: format!("in the import of `{module}`") });
            unfold(inner, module.clone(), sources, frames)
        }
        root => {
            let position = root.position();
            if !position.is_none() {
                frames.push(Frame { source, position, label: "here".into() });
            }
            root
        }
    }
}

/// The error in one line.
pub fn summary(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            summary(inner)
        }
        root => describe(root).message,
    }
}

fn describe(error: &EvalAltResult) -> ScriptDiagnostic {
    match error {
        EvalAltResult::ErrorRuntime(value, _) => thrown(value),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => worded(of_unknown_function(signature)),
        EvalAltResult::ErrorParsing(error, _) => worded(of_parse_error(error, "")),
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            ScriptDiagnostic::new("deployer::script::unknown_key", format!("there is no key `{name}`"))
        }
        EvalAltResult::ErrorTerminated(..) => ScriptDiagnostic::new("deployer::run::stopped", "the script was stopped"),
        EvalAltResult::ErrorMismatchDataType(wanted, found, _)
        | EvalAltResult::ErrorMismatchOutputType(wanted, found, _) => ScriptDiagnostic::new(
            "deployer::script::wrong_type",
            format!("wrong type: wanted `{wanted}`, found `{found}`"),
        ),
        other => {
            let text = other.to_string();
            // Rhai adds the place as text; the labels show it better.
            let text = text.split(" (line ").next().unwrap_or(&text).to_owned();
            if let Some(wording) = of_property(&text) {
                return worded(wording);
            }
            ScriptDiagnostic::new("deployer::script::error", lower_first(&text))
        }
    }
}

/// An error that the script or a primitive threw.
fn thrown(value: &Dynamic) -> ScriptDiagnostic {
    let Some(map) = value.read_lock::<Map>() else {
        return ScriptDiagnostic::new("deployer::script::thrown", value.to_string());
    };
    let json = to_json(value).unwrap_or(Value::Null);
    match serde_json::from_value::<EffectError>(json) {
        Ok(error) => {
            let mut message = error.message.clone();
            if let Some(detail) = &error.detail {
                message.push('\n');
                message.push_str(detail.trim_end());
            }
            let mut diagnostic = ScriptDiagnostic::new(code(error.kind), message);
            diagnostic.help = error.hint.clone();
            diagnostic.error = Some(error);
            diagnostic
        }
        Err(_) => {
            let text = map.get("message").map_or_else(|| value.to_string(), ToString::to_string);
            ScriptDiagnostic::new("deployer::script::thrown", text)
        }
    }
}

fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "deployer::script::invalid",
        ErrorKind::ScriptFailed => "deployer::script::failed",
        ErrorKind::Locked => "deployer::run::locked",
        ErrorKind::Unfinished => "deployer::run::unfinished",
        ErrorKind::Journal => "deployer::journal",
        ErrorKind::Cancelled => "deployer::run::cancelled",
        ErrorKind::Internal => "deployer::internal",
        _ => "deployer::effect",
    }
}

/// A diagnostic for an error that has no place in the script.
pub fn effect_diagnostic(error: &EffectError) -> ScriptDiagnostic {
    let value = error_value("", &EffectError { applied: Applied::Unknown, ..error.clone() });
    thrown(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_bytes_of_the_token() {
        let text = "let ä = 1;\r\n\tdocker_run(x);\n";
        assert_eq!(span(text, Position::new(1, 5)), Some((4, 2)));
        let (offset, length) = span(text, Position::new(2, 2)).unwrap();
        assert_eq!(&text[offset..offset + length], "docker_run");
        assert_eq!(span(text, Position::new(9, 1)), Some((text.len(), 0)));
    }
}
