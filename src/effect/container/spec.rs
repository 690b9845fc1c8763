//! How a container is created: the keys of a compose file's service.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::PublishedPort;
use crate::base::byte_size::ByteSize;
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::base::mount::Mount;
use crate::base::port_mapping::PortMapping;
use crate::base::text::Text;

/// How a container is created. Keys are those of a compose file's service where one exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's name.
    pub name: String,
    /// The image's name or id.
    pub image: String,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    /// Ports to publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// Volumes and folders to mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Mount>,
    /// Networks to join. Default: the engine's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Other names of the container on its networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// When the engine restarts it. Default `no`.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The memory limit. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<ByteSize>,
    /// The number of processors that it may use. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// The engine's health check. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Labels to set, besides deployer's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The user to run as. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The working directory. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The host name inside the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Runs a small init as process 1, which forwards signals and reaps children.
    #[serde(default)]
    pub init: bool,
    /// Mounts the root file system read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Entries for `/etc/hosts`, `NAME:ADDRESS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// The signal that `docker_stop` sends. Default: the image's, else SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The service that the container belongs to; becomes the label `deployer.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its part in the deploy; becomes the label `deployer.role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A container to copy every setting from that is not given here. Its environment never leaves the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<ContainerRef>,
}

impl ContainerSpec {
    /// Fills what this leaves open from `model`, the container that `like` names. The caller removes the settings that
    /// come from the image, and deployer's labels, from `model`.
    #[must_use]
    pub fn filled_from(mut self, model: &Self) -> Self {
        fn list<T: Clone>(value: &mut Vec<T>, model: &[T]) {
            if value.is_empty() {
                value.extend_from_slice(model);
            }
        }
        fn option<T: Clone>(value: &mut Option<T>, model: &Option<T>) {
            if value.is_none() {
                value.clone_from(model);
            }
        }
        fn map<T: Clone>(values: &mut BTreeMap<String, T>, model: &BTreeMap<String, T>) {
            for (key, value) in model {
                values.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        self.like = None;
        option(&mut self.command, &model.command);
        option(&mut self.entrypoint, &model.entrypoint);
        map(&mut self.environment, &model.environment);
        list(&mut self.ports, &model.ports);
        list(&mut self.volumes, &model.volumes);
        list(&mut self.networks, &model.networks);
        list(&mut self.aliases, &model.aliases);
        if self.restart == RestartPolicy::No {
            self.restart = model.restart.clone();
        }
        option(&mut self.mem_limit, &model.mem_limit);
        option(&mut self.cpus, &model.cpus);
        option(&mut self.healthcheck, &model.healthcheck);
        map(&mut self.labels, &model.labels);
        option(&mut self.user, &model.user);
        option(&mut self.working_dir, &model.working_dir);
        option(&mut self.hostname, &model.hostname);
        self.init |= model.init;
        self.read_only |= model.read_only;
        list(&mut self.extra_hosts, &model.extra_hosts);
        option(&mut self.stop_signal, &model.stop_signal);
        option(&mut self.service, &model.service);
        option(&mut self.role, &model.role);
        self
    }

    /// Returns the ports that the container publishes once it runs, without those that the engine chooses then.
    pub fn configured_ports(&self) -> Vec<PublishedPort> {
        let fixed = self.ports.iter().filter(|mapping| mapping.host_port != 0);
        fixed
            .map(|mapping| PublishedPort {
                address: mapping.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_string(),
                host_port: mapping.host_port,
                container_port: mapping.container_port,
                protocol: mapping.protocol,
            })
            .collect()
    }

    /// Returns the labels to set: the script's, and deployer's as `run_labels` gives them.
    pub fn all_labels(&self, run_labels: impl IntoIterator<Item = (&'static str, String)>) -> BTreeMap<String, String> {
        let mut all = self.labels.clone();
        all.extend(run_labels.into_iter().map(|(key, value)| (key.to_owned(), value)));
        all.extend(self.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        all.extend(self.role.iter().map(|role| (labels::ROLE.to_owned(), role.clone())));
        all
    }
}

/// When the engine restarts a container by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it exits, and when the engine starts.
    Always,
    /// As `Always`, unless it was stopped on request.
    UnlessStopped,
    /// When it exits with a code other than 0.
    OnFailure {
        /// The number of restarts; 0 is unlimited.
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
    /// `["CMD", "curl", ...]` or `["CMD-SHELL", "..."]`; a list that starts with neither means `CMD`.
    pub test: Vec<String>,
    /// Time between two checks. Default: the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    /// Time limit of one check. Default: the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Failures in a row that make it unhealthy. Default: the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Time after the start in which failures do not count. Default: the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<DurationText>,
}
