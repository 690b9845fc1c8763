//! How a container is made: the keys of a compose file's service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::byte_size::ByteSize;
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::base::mount::Mount;
use crate::base::port_mapping::PortMapping;
use crate::base::text::Text;

/// How a container is made. Keys are those of a compose file's service where one exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Mount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Other names of the container on its networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<ByteSize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Runs a tiny init as process 1, which passes signals on and reaps children.
    #[serde(default)]
    pub init: bool,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The service that the container belongs to: becomes the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its part in the deploy: becomes the label `deployer.role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A container to take everything from that is not given here. Its environment stays in the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<ContainerRef>,
}

impl ContainerSpec {
    /// This with what it leaves open taken from `model`, the container that `like` names. The image's own settings
    /// belong to the image, and deployer's labels to whoever makes the container.
    #[must_use]
    pub fn filled_from(mut self, model: &Self) -> Self {
        fn list<T: Clone>(own: &mut Vec<T>, model: &[T]) {
            if own.is_empty() {
                own.extend_from_slice(model);
            }
        }
        fn one<T: Clone>(own: &mut Option<T>, model: &Option<T>) {
            if own.is_none() {
                own.clone_from(model);
            }
        }
        fn map<T: Clone>(own: &mut BTreeMap<String, T>, model: &BTreeMap<String, T>) {
            for (key, value) in model {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        self.like = None;
        one(&mut self.command, &model.command);
        one(&mut self.entrypoint, &model.entrypoint);
        map(&mut self.environment, &model.environment);
        list(&mut self.ports, &model.ports);
        list(&mut self.volumes, &model.volumes);
        list(&mut self.networks, &model.networks);
        list(&mut self.aliases, &model.aliases);
        if self.restart == RestartPolicy::No {
            self.restart = model.restart.clone();
        }
        one(&mut self.mem_limit, &model.mem_limit);
        one(&mut self.cpus, &model.cpus);
        one(&mut self.healthcheck, &model.healthcheck);
        map(&mut self.labels, &model.labels);
        one(&mut self.user, &model.user);
        one(&mut self.working_dir, &model.working_dir);
        one(&mut self.hostname, &model.hostname);
        self.init |= model.init;
        self.read_only |= model.read_only;
        list(&mut self.extra_hosts, &model.extra_hosts);
        one(&mut self.stop_signal, &model.stop_signal);
        one(&mut self.service, &model.service);
        one(&mut self.role, &model.role);
        self
    }

    /// The labels to write: the script's own and deployer's.
    pub fn all_labels(&self, own: impl IntoIterator<Item = (&'static str, String)>) -> BTreeMap<String, String> {
        let mut all = self.labels.clone();
        all.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        all.extend(self.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        all.extend(self.role.iter().map(|role| (labels::ROLE.to_owned(), role.clone())));
        all
    }
}

/// When the engine starts a container again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    OnFailure {
        /// 0 is without a bound.
        attempts: u32,
    },
}

impl TryFrom<String> for RestartPolicy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "no" | "" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => Ok(Self::OnFailure { attempts: 0 }),
            other => other
                .strip_prefix("on-failure:")
                .and_then(|attempts| attempts.parse().ok())
                .map(|attempts| Self::OnFailure { attempts })
                .ok_or_else(|| {
                    format!("`{other}` is not a restart policy: use `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`")
                }),
        }
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        match policy {
            RestartPolicy::No => "no".into(),
            RestartPolicy::Always => "always".into(),
            RestartPolicy::UnlessStopped => "unless-stopped".into(),
            RestartPolicy::OnFailure { attempts: 0 } => "on-failure".into(),
            RestartPolicy::OnFailure { attempts } => format!("on-failure:{attempts}"),
        }
    }
}

/// The engine's own health check, as in a compose file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["CMD", "curl", ...]` or `["CMD-SHELL", "..."]`; a list that starts with neither is taken as `CMD`.
    pub test: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<DurationText>,
}
