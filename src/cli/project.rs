//! `deployer.toml`, the configuration of the project in the working folder: the parameters that all environments share,
//! and those of one environment below `[env.NAME]`.

use std::path::{Path, PathBuf};

use miette::miette;
use serde_json::{Map, Value};

use super::command_error::CommandError;
use crate::base::suggest::did_you_mean;
use crate::script::params::{Declaration, Declared};

/// The name of the file.
pub const FILE: &str = "deployer.toml";
/// The keys that are not parameters.
const SCRIPT: &str = "script";
const ENGINE: &str = "docker_host";
const ENVIRONMENTS: &str = "env";

/// Returns the path of the file if it exists in the working folder.
pub fn find() -> Option<PathBuf> {
    let path = PathBuf::from(FILE);
    path.is_file().then_some(path)
}

/// The content of a configuration file for one environment.
#[derive(Debug, Default, PartialEq)]
pub struct Project {
    /// The script that the parameters are for.
    pub script: Option<String>,
    pub docker_host: Option<String>,
    pub params: Value,
}

impl Project {
    /// Reads the values of a file.
    ///
    /// # Errors
    /// When there is no such environment, or `script` or `docker_host` is not a string.
    pub fn of(values: Value, environment: Option<&str>) -> Result<Self, CommandError> {
        let Value::Object(mut params) = values else { return Ok(Self::default()) };
        let environments = match params.remove(ENVIRONMENTS) {
            Some(Value::Object(environments)) => environments,
            Some(_) => {
                return Err(CommandError::usage(miette!(
                    "`{ENVIRONMENTS}` must contain tables, such as `[{ENVIRONMENTS}.staging]`"
                )));
            }
            None => Map::new(),
        };
        if let Some(name) = environment {
            let Some(Value::Object(overlay)) = environments.get(name) else {
                let names = environments.keys().map(String::as_str);
                let hint = did_you_mean(name, names.clone()).unwrap_or_else(|| match environments.len() {
                    0 => format!("add a table `[{ENVIRONMENTS}.{name}]`"),
                    _ => format!("the environments are: {}", names.collect::<Vec<_>>().join(", ")),
                });
                return Err(CommandError::usage(miette!(help = hint, "there is no environment `{name}`")));
            };
            merge(&mut params, overlay);
        }
        let mut text = |key: &str| match params.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(CommandError::usage(miette!("`{key}` must be a string"))),
        };
        let (script, docker_host) = (text(SCRIPT)?, text(ENGINE)?);
        Ok(Self { script, docker_host, params: Value::Object(params) })
    }

    /// Returns the parameters for a script that the file was not written for: those that the script declares, too.
    pub fn params_for(&self, declaration: &Declaration) -> Value {
        declared(&self.params, declaration)
    }

    /// Returns whether the file was written for this script.
    pub fn is_for(&self, script: &str) -> bool {
        let stem = |name: &str| Path::new(name).file_stem().map(ToOwned::to_owned);
        self.script.as_deref().is_some_and(|named| stem(named) == stem(script))
    }
}

fn declared(params: &Value, declaration: &Declaration) -> Value {
    let Value::Object(params) = params else { return Value::Object(Map::new()) };
    let kept = params.iter().filter_map(|(key, value)| match declaration.0.get(key.as_str())? {
        Declared::Param(_) => Some((key.clone(), value.clone())),
        Declared::Group(group) => Some((key.clone(), declared(value, group))),
    });
    Value::Object(kept.collect())
}

/// Overlays `base` with `overlay`. Tables are merged.
fn merge(base: &mut Map<String, Value>, overlay: &Map<String, Value>) {
    for (key, value) in overlay {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(overlay)) => merge(base, overlay),
            _ => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_environment_overlays_the_shared_values() {
        let file = json!({
            "script": "bluegreen.rhai", "service": "web", "port": 80, "health": {"path": "/up", "timeout": "1m"},
            "env": {"staging": {"port": 8080, "docker_host": "ssh://me@staging", "health": {"timeout": "5s"}}},
        });
        let shared = Project::of(file.clone(), None).unwrap();
        assert_eq!(shared.params["port"], 80);
        assert_eq!(shared.docker_host, None);
        let staging = Project::of(file.clone(), Some("staging")).unwrap();
        assert_eq!(staging.params["port"], 8080);
        assert_eq!(staging.params["health"], json!({"path": "/up", "timeout": "5s"}));
        assert_eq!(staging.docker_host.as_deref(), Some("ssh://me@staging"));
        assert!(staging.is_for("scripts/bluegreen.rhai") && !staging.is_for("rollback.rhai"));
        assert!(Project::of(file, Some("stagin")).is_err());
    }
}
