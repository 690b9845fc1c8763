//! References to containers: a name, an id, or the map that another primitive returned.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reference to a container. A string is its name or id. Of a map, the `id` identifies the container, even after a
/// renaming, and people see the `name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerRef {
    /// The name or id by which an engine finds it.
    pub key: String,
    /// The name to show, if it is not the key.
    pub name: Option<String>,
}

impl ContainerRef {
    /// Returns a reference by name or id.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), name: None }
    }
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_ref().unwrap_or(&self.key))
    }
}

impl From<&str> for ContainerRef {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Serialize for ContainerRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(name) = &self.name else { return serializer.serialize_str(&self.key) };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("id", &self.key)?;
        map.serialize_entry("name", name)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for ContainerRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a container: its name, its id, or the map that `docker_run` returns")]
        enum Form {
            Name(String),
            Map { id: String, name: Option<String> },
        }
        let found = match Form::deserialize(deserializer)? {
            Form::Name(key) => Self::new(key),
            Form::Map { id, name } => Self { key: id, name },
        };
        if found.key.is_empty() {
            return Err(serde::de::Error::custom("a container's name cannot be empty"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_found_by_its_id_and_shown_by_its_name() {
        let value = json!({"id": "abc", "name": "web", "image": "web:v1"});
        let container: ContainerRef = serde_json::from_value(value).unwrap();
        assert_eq!((container.key.as_str(), container.to_string().as_str()), ("abc", "web"));
        let back: ContainerRef = serde_json::from_value(serde_json::to_value(&container).unwrap()).unwrap();
        assert_eq!(back, container);
        assert_eq!(serde_json::to_value(ContainerRef::new("web")).unwrap(), json!("web"));
    }
}
