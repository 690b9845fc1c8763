//! Script errors as diagnostics: what happened, the user's own line first, then the lines of the modules it called,
//! and what to do.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use rhai::{Dynamic, EvalAltResult, Map, ParseError, Position};
use serde_json::Value;

use super::rhai_error_text::{RhaiErrorText, lower_first, of_parse_error, of_property, of_unknown_function};
use super::source::SourceMap;
use super::value::{from_json, to_json};
use crate::effect::{Applied, EffectError, ErrorKind};

/// Returns the map that `catch` receives for a failed primitive.
pub fn error_value(primitive: &str, error: &EffectError) -> Dynamic {
    let mut value = serde_json::to_value(error).unwrap_or(Value::Null);
    if let Value::Object(map) = &mut value {
        map.insert("primitive".into(), primitive.into());
        // Both keys always exist, so that scripts can read `e.hint` without a check.
        for key in ["hint", "detail"] {
            map.entry(key).or_insert(Value::Null);
        }
    }
    from_json(value)
}

/// A diagnostic with its locations in scripts.
#[derive(Debug)]
pub struct ScriptDiagnostic {
    /// Stable code, such as `deployer::script::syntax`.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    related: Vec<ScriptDiagnostic>,
    /// The underlying error of an effect, if there is one.
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
            false if self.code == CALLED_FROM => miette::Severity::Advice,
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
    /// Creates an error without a location.
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

    /// Adds a hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.warning = true;
        self
    }

    /// Whether it is a warning.
    pub fn is_warning(&self) -> bool {
        self.warning
    }

    /// Points at a position in the text of the source `name`.
    #[must_use]
    pub fn at(mut self, name: &str, text: &str, position: Position, label: impl Into<String>) -> Self {
        if let Some((offset, length)) = span(text, position) {
            self.source = Some(NamedSource::new(name, text.to_owned()).with_language("Rust"));
            self.labels = vec![LabeledSpan::new_primary_with_span(Some(label.into()), (offset, length))];
        }
        self
    }
}

/// Returns offset and length in bytes of the token at a position. Rhai reports only its start, in characters from 1.
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
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    match first {
        '"' | '`' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
        c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
        c => c.len_utf8(),
    }
}

/// Creates the diagnostic of a script that does not parse.
pub fn parse_diagnostic(error: &ParseError, name: &str, text: &str) -> ScriptDiagnostic {
    from_error_text(of_parse_error(&error.0, text)).at(name, text, error.1, "here")
}

/// Maximum distance of two frames, in lines, that are shown in one code excerpt.
const EXCERPT_LINES: usize = 8;

/// Code of related diagnostics that only show where an error came from.
const CALLED_FROM: &str = "deployer::script::below";

fn from_error_text(text: RhaiErrorText) -> ScriptDiagnostic {
    let mut diagnostic = ScriptDiagnostic::new(text.code, text.message);
    diagnostic.help = text.help;
    diagnostic
}

/// One frame of the call stack of an error.
struct Frame {
    source: String,
    position: Position,
    label: String,
}

/// Creates the diagnostic of a runtime error, with the frames from the script down to where it occurred. `fatal` is why
/// the host ended the script, which Rhai's own error does not contain.
pub fn runtime_diagnostic(
    error: &EvalAltResult,
    fatal: Option<&EffectError>,
    script: &str,
    sources: &SourceMap,
) -> ScriptDiagnostic {
    let mut frames = Vec::new();
    let root = collect_frames(error, script.to_owned(), sources, &mut frames);
    let mut diagnostic = fatal.map_or_else(|| describe(root), effect_diagnostic);
    if let Some(last) = frames.last_mut() {
        last.label = "here".into();
    }
    // One excerpt of the user's script shows the innermost line and the callers near it.
    let innermost = frames.iter().rfind(|frame| frame.source == script).and_then(|frame| frame.position.line());
    let near = |frame: &&Frame| {
        let line = frame.position.line().unwrap_or(0);
        frame.source == script && innermost.is_some_and(|innermost| line.abs_diff(innermost) <= EXCERPT_LINES)
    };
    let (shown, related): (Vec<&Frame>, Vec<&Frame>) = frames.iter().partition(near);
    add_labels(&mut diagnostic, &shown, sources);
    diagnostic.related = related
        .iter()
        .map(|frame| {
            let message = if frame.source == script {
                format!("called from `{script}`")
            } else {
                format!("in module `{}`", frame.source)
            };
            let mut related = ScriptDiagnostic::new(CALLED_FROM, message);
            add_labels(&mut related, &[frame], sources);
            related
        })
        .collect();
    diagnostic
}

fn add_labels(diagnostic: &mut ScriptDiagnostic, frames: &[&Frame], sources: &SourceMap) {
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

fn collect_frames<'a>(
    error: &'a EvalAltResult,
    source: String,
    sources: &SourceMap,
    frames: &mut Vec<Frame>,
) -> &'a EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(function, callee, inner, position) => {
            let anonymous = function.starts_with("anon$");
            let label =
                if anonymous { "in the closure called here".into() } else { format!("in the call to `{function}`") };
            if !position.is_none() {
                frames.push(Frame { source: source.clone(), position: *position, label });
            }
            // For a closure, Rhai reports the source of its caller.
            let within = if anonymous { sources.closure_source(function) } else { None };
            let within = within.unwrap_or_else(|| if callee.is_empty() { source } else { callee.clone() });
            collect_frames(inner, within, sources, frames)
        }
        EvalAltResult::ErrorInModule(module, inner, position) => {
            frames.push(Frame { source, position: *position, label: format!("in the import of `{module}`") });
            collect_frames(inner, module.clone(), sources, frames)
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

/// Returns the error as one line.
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
        EvalAltResult::ErrorFunctionNotFound(signature, _) => from_error_text(of_unknown_function(signature)),
        EvalAltResult::ErrorParsing(error, _) => from_error_text(of_parse_error(error, "")),
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            ScriptDiagnostic::new("deployer::script::unknown_key", format!("there is no key `{name}`"))
        }
        EvalAltResult::ErrorTerminated(..) => ScriptDiagnostic::new("deployer::run::stopped", "the script was stopped"),
        EvalAltResult::ErrorMismatchDataType(expected, found, _)
        | EvalAltResult::ErrorMismatchOutputType(expected, found, _) => ScriptDiagnostic::new(
            "deployer::script::wrong_type",
            format!("wrong type: expected `{expected}`, found `{found}`"),
        ),
        other => {
            let text = other.to_string();
            // Rhai appends the position as text, which the labels already show.
            let text = text.split(" (line ").next().unwrap_or(&text).to_owned();
            if let Some(text) = of_property(&text) {
                return from_error_text(text);
            }
            ScriptDiagnostic::new("deployer::script::error", lower_first(&text))
        }
    }
}

/// Creates the diagnostic of a value thrown by the script or a primitive.
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

/// Creates the diagnostic of an effect's error that has no location in the script.
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
