//! The targets of a route, by weight and by mark.

use serde::{Deserialize, Deserializer, Serialize};

use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;

/// One instance behind a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// `HOST:PORT`, as the driver reaches it.
    pub address: String,
    /// Its share. 0 keeps it warm: it only gets requests if no other target is healthy. Default 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

fn default_weight() -> u32 {
    1
}

/// The targets that get the requests of a service: one step of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// The targets.
    pub targets: Vec<Target>,
    /// Keeps a client on the target that its first request got, until the next step. Default false.
    #[serde(default)]
    pub sticky: bool,
    /// Sends marked requests to one target whatever the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
}

/// Sends requests with this header or cookie to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryRule {
    /// The target.
    #[serde(deserialize_with = "target_from_any")]
    pub target: String,
    /// What marks a request.
    pub by: CanaryMark,
    /// The name of the header or cookie.
    pub name: String,
    /// The value of the header or cookie. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What marks a request for the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryMark {
    /// A header.
    Header,
    /// A cookie.
    Cookie,
}

/// A target as a script names it: a container, or an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Default: a prefix of the container's id, which no renaming changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
    /// The port inside the container. Default: its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `HOST:PORT`, instead of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its share. 0 keeps it warm. Default 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

/// What a [`TargetSpec`] names.
#[derive(Clone, Copy, Debug)]
pub enum TargetSource<'a> {
    /// A container.
    Container(&'a ContainerRef),
    /// An address, `HOST:PORT`.
    Address(&'a str),
}

impl TargetSpec {
    /// Returns what it names.
    ///
    /// # Errors
    /// Fails unless exactly one of `container` and `address` is given.
    pub fn source(&self) -> Result<TargetSource<'_>, EffectError> {
        match (&self.container, &self.address) {
            (Some(container), None) => Ok(TargetSource::Container(container)),
            (None, Some(address)) => Ok(TargetSource::Address(address)),
            (Some(_), Some(_)) => Err(EffectError::invalid("a target has a `container` or an `address`, not both")),
            (None, None) => Err(EffectError::invalid("a target needs a `container` or an `address`")),
        }
    }

    /// Returns the target of a container with this id that is reached at this address.
    pub fn container_target(&self, id: &str, address: String) -> Target {
        let name = self.name.clone().unwrap_or_else(|| target_name(id).to_owned());
        Target { name, address, weight: self.weight }
    }

    /// Returns the target of an address.
    pub fn address_target(&self, address: &str) -> Target {
        let name = self.name.clone().unwrap_or_else(|| address.replace(':', "-"));
        Target { name, address: address.to_owned(), weight: self.weight }
    }
}

/// Returns the error for a route without a target of this name.
pub fn target_not_found<'a>(service: &str, target: &str, existing: impl Iterator<Item = &'a str>) -> EffectError {
    let names: Vec<String> = existing.map(|name| format!("`{name}`")).collect();
    let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    EffectError::not_found(format!("the route of `{service}` has no target `{target}`; it has {has}"))
        .hint("add it with `traffic_set` first, with weight 0 if it must not get requests yet")
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

/// The length of the prefix of a container's id that names its target.
const ID_LENGTH: usize = 12;

/// Returns the name of the target of the container with this id.
pub fn target_name(id: &str) -> &str {
    id.get(..ID_LENGTH).unwrap_or(id)
}

/// Reads a target's name from a string, from a container's map or from a target's map.
pub(super) fn target_from_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
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
