//! Compose projects and their services. Knows no compose file format.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::behaviour::Behaviour;
use crate::effect::container::ContainerSpec;

/// The content of a compose file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimProject {
    /// The project name, as compose derives it from the folder.
    pub name: String,
    /// Services by name.
    pub services: BTreeMap<String, SimService>,
    /// Compose's error when it cannot read the file.
    pub refused: Option<String>,
}

/// One service: its container, without a name, and what else compose knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimService {
    /// The configuration of its container.
    pub container: ContainerSpec,
    /// Services that must be up first.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// The folder its image is built from.
    #[serde(default)]
    pub build: Option<String>,
    /// Behaviour that replaces the one of the image.
    #[serde(default)]
    pub behaviour: Option<Arc<Behaviour>>,
}

impl SimProject {
    /// Builds a project from the output of `compose_config`. That output has no environment values, so they are left
    /// out.
    pub(crate) fn from_config(config: &Value) -> Self {
        let services = config.get("services").and_then(Value::as_object).into_iter().flatten();
        let service = |(name, config): (&String, &Value)| {
            let list = |key: &str| {
                let texts = config.get(key).and_then(Value::as_array).into_iter().flatten();
                texts.filter_map(Value::as_str).map(|text| json!(text)).collect::<Vec<_>>()
            };
            let text = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or_default();
            let spec = json!({
                "name": text("container_name"),
                "image": text("image"),
                "restart": config.get("restart").and_then(Value::as_str).unwrap_or("no"),
            });
            let mut container: ContainerSpec = serde_json::from_value(spec).ok()?;
            container.ports = list("ports").into_iter().filter_map(|text| serde_json::from_value(text).ok()).collect();
            container.volumes =
                list("volumes").into_iter().filter_map(|text| serde_json::from_value(text).ok()).collect();
            let build =
                config.get("build").map(|build| match build.get("context").or(Some(build)).and_then(Value::as_str) {
                    Some(folder) => folder.to_owned(),
                    None => ".".to_owned(),
                });
            let depends_on = match config.get("depends_on") {
                Some(Value::Object(map)) => map.keys().cloned().collect(),
                Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            };
            Some((name.clone(), SimService { container, depends_on, build, behaviour: None }))
        };
        Self {
            name: config.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            services: services.filter_map(service).collect(),
            refused: None,
        }
    }
}
