//! `docker_inspect`, `docker_list` and `docker_logs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Container;
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::request::request;

/// The number of log lines that `docker_logs` returns and that errors show.
pub const DEFAULT_LOG_LINES: u64 = 100;

/// `docker_inspect`: reads the state of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InspectContainer {
    /// The container.
    pub container: ContainerRef,
    /// Returns `()` instead of failing if the container does not exist.
    #[serde(default)]
    pub missing_ok: bool,
}

request! {
    InspectContainer {
        kind: "docker_inspect",
        reply: Option<Container>,
        access: Read,
        subject: container,
    }
}

/// `docker_list`: lists containers, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListContainers {
    /// Includes stopped ones. Default: only running ones.
    #[serde(default)]
    pub all: bool,
    /// Only the one with exactly this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those created from this image (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Only those with all of these labels. An empty value matches any value of the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Shorthand for the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Shorthand for the label `deployer.role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl ListContainers {
    /// Returns the labels to filter by, shorthands included.
    pub fn label_filter(&self) -> BTreeMap<String, String> {
        let mut filter = self.labels.clone();
        filter.extend(self.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        filter.extend(self.role.iter().map(|role| (labels::ROLE.to_owned(), role.clone())));
        filter
    }
}

request! {
    ListContainers {
        kind: "docker_list",
        reply: Vec<Container>,
        access: Read,
        subject: |list| list.name.clone().or_else(|| list.service.clone()).unwrap_or_default(),
    }
}

/// `docker_logs`: reads the last lines that a container wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadLogs {
    /// The container.
    pub container: ContainerRef,
    /// The number of lines. Default 100.
    #[serde(default = "default_log_lines")]
    pub tail: u64,
}

fn default_log_lines() -> u64 {
    DEFAULT_LOG_LINES
}

request! {
    ReadLogs {
        kind: "docker_logs",
        reply: Logs,
        access: Read,
        subject: container,
    }
}

/// Lines of a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Standard output and standard error together, oldest line first.
    pub lines: Vec<String>,
}
