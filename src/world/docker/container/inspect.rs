//! Inspects containers, and converts the engine's description into the one that scripts see.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum, HealthStatusEnum, MountPoint,
    PortMap, RestartPolicy as EngineRestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::InspectContainerOptions;

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::base::port_mapping::Protocol;
use crate::effect::EffectError;
use crate::effect::container::{Container, ContainerState, InspectContainer, PublishedPort, RestartPolicy};
use crate::world::docker::error::{Subject, await_reply, none_if_missing};
use crate::world::docker::names;

/// The engine's timestamp for something that never happened.
const NEVER: &str = "0001-01-01T00:00:00Z";
const ANY_ADDRESS: &str = "0.0.0.0";

impl Containers {
    /// Inspects the container, or fails with `not_found`.
    pub(in crate::world::docker) async fn get(&self, container: &ContainerRef) -> Result<Container, EffectError> {
        let name = names::validate("container", &container.key)?;
        let reply = self.client.docker.inspect_container(name, None::<InspectContainerOptions>);
        await_reply(Subject::Container(name), reply).await.map(from_engine)
    }

    pub(super) async fn inspect(&self, request: &InspectContainer) -> Result<Option<Container>, EffectError> {
        let container = self.get(&request.container).await;
        if request.missing_ok { none_if_missing(container) } else { container.map(Some) }
    }
}

fn from_engine(found: ContainerInspectResponse) -> Container {
    let state = found.state.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let network = found.network_settings.unwrap_or_default();
    let status = status(&state);
    let host = found.host_config.unwrap_or_default();
    let mut ports = ports(network.ports.unwrap_or_default());
    if ports.is_empty() {
        // A stopped container has no published ports: report those that it will publish.
        ports = self::ports(host.port_bindings.unwrap_or_default());
    }
    let networks = network.networks.unwrap_or_default();
    // A container that the engine keeps restarting has exited too: a wait for it must see that.
    let has_exited = matches!(status, ContainerState::Exited | ContainerState::Dead | ContainerState::Restarting);
    Container {
        id: found.id.unwrap_or_default(),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        image_id: found.image.unwrap_or_default(),
        exit_code: has_exited.then_some(state.exit_code).flatten(),
        state: status,
        health: state.health.and_then(|health| health.status).and_then(health),
        oom_killed: state.oom_killed.unwrap_or_default(),
        created_at: found.created,
        started_at: state.started_at.filter(|at| at != NEVER),
        ports,
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        mounts: found.mounts.unwrap_or_default().into_iter().filter_map(mount).collect(),
        networks: networks
            .into_iter()
            .map(|(name, endpoint)| (name, endpoint.ip_address.unwrap_or_default()))
            .collect::<BTreeMap<_, _>>(),
        environment: config
            .env
            .unwrap_or_default()
            .iter()
            .map(|variable| variable.split('=').next().unwrap_or_default().to_owned())
            .collect(),
        restart: host.restart_policy.map(restart).unwrap_or_default(),
    }
}

fn restart(policy: EngineRestartPolicy) -> RestartPolicy {
    match policy.name {
        Some(RestartPolicyNameEnum::ALWAYS) => RestartPolicy::Always,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(RestartPolicyNameEnum::ON_FAILURE) => RestartPolicy::OnFailure {
            attempts: policy.maximum_retry_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        },
        Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None => RestartPolicy::No,
    }
}

fn status(state: &EngineState) -> ContainerState {
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) => ContainerState::Running,
        Some(ContainerStateStatusEnum::PAUSED) => ContainerState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => ContainerState::Restarting,
        Some(ContainerStateStatusEnum::REMOVING) => ContainerState::Removing,
        Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited,
        Some(ContainerStateStatusEnum::DEAD) => ContainerState::Dead,
        _ => ContainerState::Created,
    }
}

fn health(status: HealthStatusEnum) -> Option<String> {
    match status {
        HealthStatusEnum::STARTING => Some("starting".into()),
        HealthStatusEnum::HEALTHY => Some("healthy".into()),
        HealthStatusEnum::UNHEALTHY => Some("unhealthy".into()),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

/// Returns the ports in order. The engine reports a port of all addresses twice, for IPv4 and IPv6; they count as one.
fn ports(map: PortMap) -> Vec<PublishedPort> {
    let mut all = BTreeSet::new();
    for (key, bindings) in map {
        let (port, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        let Ok(container_port) = port.parse::<u16>() else { continue };
        let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
        for binding in bindings.unwrap_or_default() {
            // Skip a port that the engine chooses at start.
            let Some(host_port) = binding.host_port.and_then(|port| port.parse::<u16>().ok()) else { continue };
            let address = match binding.host_ip.as_deref() {
                None | Some("" | "::" | ANY_ADDRESS) => ANY_ADDRESS.to_owned(),
                Some(address) => address.to_owned(),
            };
            all.insert((container_port, protocol, address, host_port));
        }
    }
    all.into_iter()
        .map(|(container_port, protocol, address, host_port)| PublishedPort {
            address,
            host_port,
            container_port,
            protocol,
        })
        .collect()
}

/// Formats a mount as a compose file does.
fn mount(point: MountPoint) -> Option<String> {
    let source = point.name.filter(|name| !name.is_empty()).or(point.source)?;
    let target = point.destination?;
    Some(format!("{source}:{target}{}", if point.rw == Some(false) { ":ro" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_a_running_container() {
        let found: ContainerInspectResponse = serde_json::from_value(serde_json::json!({
            "Id": "abc", "Name": "/web", "Image": "sha256:1", "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": "running", "ExitCode": 0, "StartedAt": "2026-01-01T00:00:01Z", "OOMKilled": false,
                      "Health": {"Status": "starting"}},
            "Config": {"Image": "web:v1", "Env": ["KEY=hunter2", "EMPTY="], "Labels": {"a": "b"}},
            "HostConfig": {"PortBindings": {"5000/tcp": [{"HostIp": "", "HostPort": "8080"}]}},
            "Mounts": [{"Type": "volume", "Name": "data", "Source": "/var/lib/x", "Destination": "/data", "RW": false},
                       {"Type": "bind", "Source": "/srv", "Destination": "/srv", "RW": true}],
            "NetworkSettings": {
                "Ports": {"5000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
                          "9000/tcp": null},
                "Networks": {"net": {"IPAddress": "172.18.0.2"}}}
        }))
        .unwrap();
        let container = from_engine(found);
        assert_eq!((container.name.as_str(), container.image.as_str()), ("web", "web:v1"));
        assert_eq!(container.health.as_deref(), Some("starting"));
        assert_eq!(container.exit_code, None, "still running");
        assert_eq!(container.environment, ["KEY", "EMPTY"], "names only");
        assert_eq!(container.ports.len(), 1);
        assert_eq!(container.ports[0].host_port, 8080);
        assert_eq!(container.mounts, ["data:/data:ro", "/srv:/srv"]);
        assert_eq!(container.networks["net"], "172.18.0.2");
    }

    #[test]
    fn a_stopped_container_shows_its_configured_ports_and_exit_code() {
        let found: ContainerInspectResponse = serde_json::from_value(serde_json::json!({
            "State": {"Status": "exited", "ExitCode": 3, "StartedAt": "0001-01-01T00:00:00Z"},
            "HostConfig": {"PortBindings": {"5000/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostPort": ""}]}},
            "NetworkSettings": {"Ports": {}}
        }))
        .unwrap();
        let container = from_engine(found);
        assert_eq!(container.exit_code, Some(3));
        assert_eq!(container.started_at, None);
        assert_eq!(container.ports.iter().map(|port| port.host_port).collect::<Vec<_>>(), [8080]);
    }
}
