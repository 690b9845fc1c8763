//! The configuration file and the `--set` options: the parameters of a script, with positions for error messages.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::str::Utf8Error;

use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report, miette};
use serde_json::{Map, Value};

use super::command_error::CommandError;
use super::project::{self, Project};
use crate::script::params::{Declaration, ParamError};

/// Returns the parameters of the file and the `--set` options, checked against the script's declaration.
///
/// # Errors
/// When a parameter is unknown, missing or of the wrong type. Points at its line if it is in the file.
pub fn script_parameters(declaration: &Declaration, config: &Config, sets: &[String]) -> Result<Value, CommandError> {
    let file = config.file.as_ref();
    let mut given = match (config.strict, &config.project.params) {
        (_, Value::Null) => Value::Object(Map::new()),
        (true, params) => params.clone(),
        // The values of a deployer.toml for one service say nothing about another one.
        (false, params) if !config.is_named && is_of_another_service(params, sets) => Value::Object(Map::new()),
        (false, _) => config.project.params_for(declaration),
    };
    for set in sets {
        let Some((key, value)) = set.split_once('=') else {
            return Err(CommandError::usage(miette!(
                help = "write it as `--set KEY=VALUE`",
                "`--set {set}` has no `=`"
            )));
        };
        if key.trim().is_empty() {
            return Err(CommandError::usage(miette!(
                help = "write it as `--set KEY=VALUE`",
                "`--set {set}` has no key"
            )));
        }
        declaration.set(&mut given, key.trim(), value).map_err(|error| explain(&error, None))?;
    }
    declaration.fill(&given).map_err(|error| explain(&error, file))?;
    Ok(given)
}

/// Returns whether a `--set` option names another service than the parameters of the file.
fn is_of_another_service(params: &Value, sets: &[String]) -> bool {
    let named = sets.iter().filter_map(|set| set.split_once('=')).rfind(|(key, _)| key.trim() == SERVICE);
    let own = params.get(SERVICE).and_then(Value::as_str);
    matches!((named, own), (Some((_, named)), own) if Some(named) != own)
}

/// Explains why a file cannot be read.
pub fn io_error_text(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".into(),
        ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}

/// Explains why bytes are not text.
pub fn not_text(error: Utf8Error) -> String {
    format!("it is not UTF-8: byte {} is invalid; save the file as UTF-8", error.valid_up_to() + 1)
}

/// The shipped scripts that are run with the configuration of a deploy. They ignore what they do not declare.
const COMPANIONS: [&str; 2] = ["rollback.rhai", "take_port.rhai"];
/// The parameter with the name of the service.
const SERVICE: &str = "service";

/// The configuration from the given file, or from deployer.toml.
pub struct Config {
    file: Option<File>,
    pub project: Project,
    /// Whether the file was named on the command line.
    is_named: bool,
    /// Whether the script must declare every key.
    strict: bool,
}

impl Config {
    /// Reads the given file, or `deployer.toml` if it exists. `script`: the script on the command line.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, or has no such environment.
    pub fn read(named: Option<&Path>, environment: Option<&str>, script: Option<&str>) -> Result<Self, CommandError> {
        let found = project::find();
        let Some(path) = named.or(found.as_deref()) else {
            if let Some(environment) = environment {
                let help = format!("create `{}` with `deployer init`", project::FILE);
                let text = miette!(
                    help = help,
                    "`--env {environment}` needs a configuration file, and there is no `{}` in this folder",
                    project::FILE
                );
                return Err(CommandError::usage(text));
            }
            return Ok(Self { file: None, project: Project::default(), is_named: false, strict: true });
        };
        let file = File::read(path)?;
        let project = Project::of(file.values()?, environment)?;
        // deployer.toml may be written for another script; then only the parameters that both declare are used.
        let strict = match script {
            Some(script) if COMPANIONS.contains(&script) => project.is_for(script),
            Some(script) => named.is_some() || project.is_for(script),
            None => true,
        };
        Ok(Self { file: Some(file), project, is_named: named.is_some(), strict })
    }

    /// Returns the script that the file names.
    pub fn script(&self) -> Option<&str> {
        self.project.script.as_deref()
    }

    /// Returns the given script, or the one that the file names. `command`: the command, for the error.
    ///
    /// # Errors
    /// When there is neither.
    pub fn script_or<'a>(&'a self, named: Option<&'a str>, command: &str) -> Result<&'a str, CommandError> {
        named.or(self.script()).ok_or_else(|| {
            let help = "`deployer init` creates a deployer.toml; `deployer run bluegreen.rhai --help` shows the parameters of a script";
            CommandError::usage(miette!(help = help, "no script given: `deployer {command} SCRIPT`"))
        })
    }
}

struct File {
    name: String,
    text: String,
}

impl File {
    fn read(path: &Path) -> Result<Self, CommandError> {
        let name = path.display().to_string();
        let unreadable = |why: String| {
            CommandError::usage(miette!(code = "deployer::config", "the configuration `{name}` cannot be read: {why}"))
        };
        let bytes = std::fs::read(path).map_err(|error| unreadable(io_error_text(&error)))?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable(not_text(error.utf8_error())))?;
        Ok(Self { name, text })
    }

    fn values(&self) -> Result<Value, CommandError> {
        let table: toml::Table = toml::from_str(&self.text).map_err(|error| {
            let diagnostic = MietteDiagnostic::new(format!("`{}` is not valid TOML: {}", self.name, error.message()))
                .with_code("deployer::config::syntax");
            self.point(diagnostic, error.span(), "here")
        })?;
        serde_json::to_value(table).map_err(|error| CommandError::usage(miette!("`{}`: {error}", self.name)))
    }

    fn point(&self, diagnostic: MietteDiagnostic, span: Option<Range<usize>>, label: &str) -> CommandError {
        let Some(span) = span else { return CommandError::usage(Report::new(diagnostic)) };
        let label = LabeledSpan::new_primary_with_span(Some(label.into()), span);
        let source = NamedSource::new(&self.name, self.text.clone());
        CommandError::usage(Report::new(diagnostic.with_label(label)).with_source_code(source))
    }

    /// Finds a dotted key in the file.
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

fn explain(error: &ParamError, file: Option<&File>) -> CommandError {
    let mut diagnostic = MietteDiagnostic::new(format!("parameter `{}` {}", error.key, error.message))
        .with_code("deployer::config::parameter");
    diagnostic.help.clone_from(&error.hint);
    match file.map(|file| (file, file.find(&error.key))) {
        Some((file, Some(span))) => file.point(diagnostic, Some(span), "given here"),
        _ => CommandError::usage(Report::new(diagnostic)),
    }
}
