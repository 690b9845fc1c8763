//! `deployer.toml`: the file in the folder that is found by itself. The parameters of the folder's script, what every
//! environment has in common first, what one has of its own below `[env.NAME]`.

use std::path::{Path, PathBuf};

use miette::miette;
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::base::suggest::did_you_mean;
use crate::script::params::{Declaration, Declared};

/// Its name.
pub const FILE: &str = "deployer.toml";
/// Keys that are no parameters.
const SCRIPT: &str = "script";
const ENGINE: &str = "docker_host";
const ENVIRONMENTS: &str = "env";

/// The file in the working folder, if it is there.
pub fn found() -> Option<PathBuf> {
    let path = PathBuf::from(FILE);
    path.is_file().then_some(path)
}

/// What a file says, for one environment.
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
    /// When there is no such environment, or a key of the file itself is no text.
    pub fn of(values: Value, environment: Option<&str>) -> Result<Self, Fault> {
        let Value::Object(mut params) = values else { return Ok(Self::default()) };
        let environments = match params.remove(ENVIRONMENTS) {
            Some(Value::Object(environments)) => environments,
            Some(_) => {
                return Err(Fault::usage(miette!("`{ENVIRONMENTS}` must be tables: `[{ENVIRONMENTS}.staging]`")));
            }
            None => Map::new(),
        };
        if let Some(name) = environment {
            let Some(Value::Object(own)) = environments.get(name) else {
                let names = environments.keys().map(String::as_str);
                let hint = did_you_mean(name, names.clone()).unwrap_or_else(|| match environments.len() {
                    0 => format!("write a table `[{ENVIRONMENTS}.{name}]`"),
                    _ => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
                });
                return Err(Fault::usage(miette!(help = hint, "there is no environment `{name}`")));
            };
            merge(&mut params, own);
        }
        let mut text = |key: &str| match params.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::usage(miette!("`{key}` must be a text"))),
        };
        let (script, docker_host) = (text(SCRIPT)?, text(ENGINE)?);
        Ok(Self { script, docker_host, params: Value::Object(params) })
    }

    /// The parameters for a script that the file was not written for: those that it declares too.
    pub fn params_for(&self, declaration: &Declaration) -> Value {
        declared(&self.params, declaration)
    }

    /// Whether the file was written for this script.
    pub fn is_for(&self, script: &str) -> bool {
        let stem = |name: &str| Path::new(name).file_stem().map(ToOwned::to_owned);
        self.script.as_deref().is_some_and(|own| stem(own) == stem(script))
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

/// Lays `over` on top; tables are joined.
fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_environment_lies_over_what_all_share() {
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
