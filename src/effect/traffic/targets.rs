//! Who gets the requests of a route, by weight and by mark.

use serde::{Deserialize, Deserializer, Serialize};

use crate::base::container_ref::ContainerRef;

/// One instance behind a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    /// `HOST:PORT` that the proxy reaches.
    pub address: String,
    /// Its share; 0 keeps it warm: it gets requests only when nobody else is healthy. Default 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

fn default_weight() -> u32 {
    1
}

/// Who gets the requests of a service: one step of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    pub targets: Vec<Target>,
    /// A visitor stays with the target that the first request got, until the next step. Default: no.
    #[serde(default)]
    pub sticky: bool,
    /// Who goes to one target whatever the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
}

/// Requests that carry this header or this cookie go to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryRule {
    #[serde(deserialize_with = "named")]
    pub target: String,
    pub by: CanaryMark,
    /// The header's or cookie's name.
    pub name: String,
    /// Default: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryMark {
    Header,
    Cookie,
}

/// A target as a script names it: a container, or an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Default: the beginning of the container's id, which no renaming changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
    /// The port inside the container. Default: its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `HOST:PORT`, in place of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default = "default_weight")]
    pub weight: u32,
}

impl From<Target> for TargetSpec {
    fn from(target: Target) -> Self {
        Self {
            name: Some(target.name),
            container: None,
            port: None,
            address: Some(target.address),
            weight: target.weight,
        }
    }
}

/// The beginning of a container's id: what its target is called.
const ID_LENGTH: usize = 12;

/// What the target of the container with this id is called.
pub fn target_name(id: &str) -> &str {
    id.get(..ID_LENGTH).unwrap_or(id)
}

/// Reads a target's name from a string, from a container's map, or from a target's.
pub(super) fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a target: its name, its container, or the map that `traffic_show` returns")]
    enum Form {
        Name(String),
        Container { id: String },
        Target { name: String },
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Name(name) | Form::Target { name } => name,
        Form::Container { id } => target_name(&id).to_owned(),
    })
}
