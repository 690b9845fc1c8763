//! `docker_inspect`, `docker_list` and `docker_logs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Container;
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::{Access, Facts, Request};

/// Lines of log that `docker_logs` returns, and that errors show.
pub const DEFAULT_LOG_LINES: u64 = 100;

/// `docker_inspect`: one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InspectContainer {
    pub container: ContainerRef,
    /// Returns `()` instead of failing when there is none.
    #[serde(default)]
    pub missing_ok: bool,
}

impl Facts for InspectContainer {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for InspectContainer {
    const KIND: &'static str = "docker_inspect";
    type Reply = Option<Container>;
}

/// `docker_list`: containers, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListContainers {
    /// Stopped ones too. Default: only running ones.
    #[serde(default)]
    pub all: bool,
    /// Only the one with exactly this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those made from this image (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Only those that carry all of these labels; an empty value asks for the key alone.
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
    /// All the labels asked for, shorthands included.
    pub fn wanted_labels(&self) -> BTreeMap<String, String> {
        let mut wanted = self.labels.clone();
        wanted.extend(self.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        wanted.extend(self.role.iter().map(|role| (labels::ROLE.to_owned(), role.clone())));
        wanted
    }
}

impl Facts for ListContainers {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone().or_else(|| self.service.clone()).unwrap_or_default()
    }
}

impl Request for ListContainers {
    const KIND: &'static str = "docker_list";
    type Reply = Vec<Container>;
}

/// `docker_logs`: the last lines that a container wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadLogs {
    pub container: ContainerRef,
    /// Default 100.
    #[serde(default = "default_log_lines")]
    pub tail: u64,
}

fn default_log_lines() -> u64 {
    DEFAULT_LOG_LINES
}

impl Facts for ReadLogs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for ReadLogs {
    const KIND: &'static str = "docker_logs";
    type Reply = Logs;
}

/// Lines of a container's log, oldest first, output and errors together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub lines: Vec<String>,
}
