//! What a primitive takes where it wants a container: its name, its id, or the map that another primitive returned.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A container's name or id. Deserializes from a string, or from a map with `id`
/// (the id stays right when the container is renamed).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ContainerRef(pub String);

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ContainerRef {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl<'de> Deserialize<'de> for ContainerRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a container: its name, its id, or the map that `docker_run` returns")]
        enum Form {
            Name(String),
            Map { id: String },
        }
        let name = match Form::deserialize(deserializer)? {
            Form::Name(name) => name,
            Form::Map { id } => id,
        };
        if name.is_empty() {
            return Err(serde::de::Error::custom("a container's name cannot be empty"));
        }
        Ok(Self(name))
    }
}
