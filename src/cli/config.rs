//! The file of `--config` and the `--set`s: parameters as the user gave them, with places for errors.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::str::Utf8Error;

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report, miette};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::project::{self, Project};
use crate::script::params::{Declaration, ParamError};

/// Given parameters, checked against what the script declares.
///
/// # Errors
/// Unreadable or unparsable file; unknown, missing or mistyped parameter, pointed at in the file where it stands there.
pub fn given(declaration: &Declaration, config: &Config, sets: &[String]) -> Result<Value, Fault> {
    let file = config.file.as_ref();
    let mut given = match (config.strict, &config.project.params) {
        (_, Value::Null) => Value::Object(Map::new()),
        (true, params) => params.clone(),
        (false, _) => config.project.params_for(declaration),
    };
    for set in sets {
        let Some((key, value)) = set.split_once('=') else {
            return Err(Fault::usage(miette!(help = "write it as `--set KEY=VALUE`", "`--set {set}` has no `=`")));
        };
        if key.trim().is_empty() {
            return Err(Fault::usage(miette!(help = "write it as `--set KEY=VALUE`", "`--set {set}` has no key")));
        }
        declaration.set(&mut given, key.trim(), value).map_err(|error| explain(&error, None))?;
    }
    declaration.fill(&given).map_err(|error| explain(&error, file))?;
    Ok(given)
}

/// A fault of reading a file that the user named, in words.
pub fn plainly(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".into(),
        ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}

/// What is wrong with bytes that should be text.
pub fn not_text(error: Utf8Error) -> String {
    format!("it is not UTF-8: byte {} is part of no character; save it as UTF-8", error.valid_up_to() + 1)
}

/// The configuration that was named, or found in the folder.
pub struct Config {
    file: Option<File>,
    pub project: Project,
    /// Whether every key must be one that the script declares.
    strict: bool,
}

impl Config {
    /// Reads the file that was named, or `deployer.toml` where there is one. `script`: the one that was named.
    ///
    /// # Errors
    /// Unreadable or unparsable file; no such environment in it.
    pub fn read(named: Option<&Path>, environment: Option<&str>, script: Option<&str>) -> Result<Self, Fault> {
        let found = project::found();
        let Some(path) = named.or(found.as_deref()) else {
            if let Some(environment) = environment {
                let help = format!("`deployer init` writes a `{}` to begin with", project::FILE);
                let text =
                    miette!(help = help, "`--env {environment}`: there is no `{}` in this folder", project::FILE);
                return Err(Fault::usage(text));
            }
            return Ok(Self { file: None, project: Project::default(), strict: true });
        };
        let file = File::read(path)?;
        let project = Project::of(file.values()?, environment)?;
        // A file that was found may be written for another script.
        let strict = named.is_some() || script.is_none_or(|script| project.is_for(script));
        Ok(Self { file: Some(file), project, strict })
    }

    /// What to ask where neither the command line nor this file names a script.
    pub fn script(&self) -> Option<&str> {
        self.project.script.as_deref()
    }

    /// The script that was named, else the one that the file is for. `verb`: what is to be done with it.
    ///
    /// # Errors
    /// When neither says.
    pub fn script_or<'a>(&'a self, named: Option<&'a str>, verb: &str) -> Result<&'a str, Fault> {
        named.or(self.script()).ok_or_else(|| {
            let help = "`deployer run bluegreen.rhai --help` shows what one takes; `deployer init` begins a project";
            Fault::usage(miette!(help = help, "which script? `deployer {verb} SCRIPT`"))
        })
    }
}

struct File {
    name: String,
    text: String,
}

impl File {
    fn read(path: &Path) -> Result<Self, Fault> {
        let name = path.display().to_string();
        let unreadable = |why: String| {
            Fault::usage(miette!(code = "deployer::config", "the configuration `{name}` cannot be read: {why}"))
        };
        let bytes = std::fs::read(path).map_err(|error| unreadable(plainly(&error)))?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable(not_text(error.utf8_error())))?;
        Ok(Self { name, text })
    }

    fn values(&self) -> Result<Value, Fault> {
        let table: toml::Table = toml::from_str(&self.text).map_err(|error| {
            let diagnostic = MietteDiagnostic::new(format!("`{}` is no TOML: {}", self.name, error.message()))
                .with_code("deployer::config::syntax");
            self.point(diagnostic, error.span(), "here")
        })?;
        serde_json::to_value(table).map_err(|error| Fault::usage(miette!("`{}`: {error}", self.name)))
    }

    fn point(&self, diagnostic: MietteDiagnostic, span: Option<Range<usize>>, label: &str) -> Fault {
        let Some(span) = span else { return Fault::usage(Report::new(diagnostic)) };
        let label = LabeledSpan::new_primary_with_span(Some(label.into()), span);
        let source = NamedSource::new(&self.name, self.text.clone());
        Fault::usage(Report::new(diagnostic.with_label(label)).with_source_code(source))
    }

    /// Where a dotted key stands in the file.
    fn find(&self, key: &str) -> Option<Range<usize>> {
        let root = toml::de::DeTable::parse(&self.text).ok()?;
        let mut table = root.get_ref();
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            let (name, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
            if parts.peek().is_none() {
                return Some(name.span());
            }
            table = value.get_ref().as_table()?;
        }
        None
    }
}

fn explain(error: &ParamError, file: Option<&File>) -> Fault {
    let mut diagnostic = MietteDiagnostic::new(format!("parameter `{}` {}", error.key, error.message))
        .with_code("deployer::config::parameter");
    diagnostic.help.clone_from(&error.hint);
    match file.map(|file| (file, file.find(&error.key))) {
        Some((file, Some(span))) => file.point(diagnostic, Some(span), "given here"),
        _ => Fault::usage(Report::new(diagnostic)),
    }
}
