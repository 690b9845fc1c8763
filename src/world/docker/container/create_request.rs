//! Builds the engine's request to create a container from a script's specification. Contacts no engine.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, Mount as EngineMount, MountType,
    MountVolumeOptions, NetworkingConfig, PortBinding, PortMap, RestartPolicy as EngineRestart, RestartPolicyNameEnum,
};

use crate::base::mount::Mount;
use crate::base::port_mapping::PortMapping;
use crate::base::vault::Vault;
use crate::effect::EffectError;
use crate::effect::container::{ContainerSpec, Healthcheck, RestartPolicy};

/// The engine counts processors in billionths.
const NANOS_PER_CPU: f64 = 1e9;

/// Returns whether containers can have aliases on the network. They cannot on the engine's built-in networks.
pub(super) fn supports_aliases(network: &str) -> bool {
    !matches!(network, "bridge" | "host" | "none" | "default") && !network.starts_with("container:")
}

/// Returns the settings of a container on one network.
pub(in crate::world::docker) fn endpoint(network: &str, aliases: &[String]) -> EndpointSettings {
    let aliases = (supports_aliases(network) && !aliases.is_empty()).then(|| aliases.to_vec());
    EndpointSettings { aliases, ..EndpointSettings::default() }
}

/// Builds the request. The container starts out on the first of its networks. `deployer_labels` are added to its
/// labels.
pub(super) fn create_body(
    spec: &ContainerSpec,
    deployer_labels: impl IntoIterator<Item = (&'static str, String)>,
    vault: &Vault,
) -> Result<ContainerCreateBody, EffectError> {
    let labels: HashMap<String, String> = spec.all_labels(deployer_labels).into_iter().collect();
    let environment = spec
        .environment
        .iter()
        .map(|(key, value)| Ok(format!("{key}={}", vault.reveal(value)?)))
        .collect::<Result<Vec<_>, EffectError>>()?;
    let (ports, bindings) = ports(&spec.ports);
    let (mounts, binds) = mounts(&spec.volumes, &labels);
    let network = spec.networks.first();
    let host_config = HostConfig {
        port_bindings: Some(bindings),
        mounts: Some(mounts),
        binds: Some(binds),
        network_mode: network.cloned(),
        restart_policy: Some(restart(&spec.restart)),
        memory: spec.mem_limit.map(|size| i64::try_from(size.0).unwrap_or(i64::MAX)),
        // Exact up to 2^53, more than any machine has.
        nano_cpus: spec.cpus.map(|cpus| (cpus * NANOS_PER_CPU) as i64),
        init: spec.init.then_some(true),
        readonly_rootfs: spec.read_only.then_some(true),
        extra_hosts: (!spec.extra_hosts.is_empty()).then(|| spec.extra_hosts.clone()),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        env: Some(environment),
        exposed_ports: Some(ports),
        labels: Some(labels),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        stop_signal: spec.stop_signal.clone(),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        host_config: Some(host_config),
        networking_config: network.map(|network| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.clone(), endpoint(network, &spec.aliases))])),
        }),
        ..ContainerCreateBody::default()
    })
}

fn ports(mappings: &[PortMapping]) -> (Vec<String>, PortMap) {
    let mut bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for mapping in mappings {
        bindings.entry(format!("{}/{}", mapping.container_port, mapping.protocol)).or_default().push(PortBinding {
            host_ip: mapping.address.map(|address| address.to_string()),
            // An empty port lets the engine choose.
            host_port: Some(if mapping.host_port == 0 { String::new() } else { mapping.host_port.to_string() }),
        });
    }
    (bindings.keys().cloned().collect(), bindings.into_iter().map(|(key, value)| (key, Some(value))).collect())
}

/// Returns volumes as mounts, so that a volume which is created on the way gets the labels too. Host folders become
/// binds, which the engine creates where they are missing, as the short syntax of compose files does.
fn mounts(mounts: &[Mount], labels: &HashMap<String, String>) -> (Vec<EngineMount>, Vec<String>) {
    let (volumes, folders): (Vec<&Mount>, Vec<&Mount>) = mounts.iter().partition(|mount| mount.is_volume());
    let volumes = volumes
        .into_iter()
        .map(|mount| EngineMount {
            typ: Some(MountType::VOLUME),
            source: Some(mount.source.clone()),
            target: Some(mount.target.clone()),
            read_only: Some(mount.read_only),
            volume_options: Some(MountVolumeOptions { labels: Some(labels.clone()), ..MountVolumeOptions::default() }),
            ..EngineMount::default()
        })
        .collect();
    (volumes, folders.into_iter().map(ToString::to_string).collect())
}

fn restart(policy: &RestartPolicy) -> EngineRestart {
    let (name, attempts) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure { attempts } => (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(*attempts))),
    };
    EngineRestart { name: Some(name), maximum_retry_count: attempts }
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let mut test = check.test.clone();
    if !matches!(test.first().map(String::as_str), Some("CMD" | "CMD-SHELL" | "NONE") | None) {
        test.insert(0, "CMD".into());
    }
    HealthConfig {
        test: Some(test),
        interval: check.interval.map(|text| nanos(text.0)),
        timeout: check.timeout.map(|text| nanos(text.0)),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(|text| nanos(text.0)),
        start_interval: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::ErrorKind;

    fn spec(json: serde_json::Value) -> ContainerSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_option_reaches_the_engine() {
        let spec = spec(serde_json::json!({
            "name": "web", "image": "web:v2", "command": ["serve"], "entrypoint": ["/app"],
            "environment": {"A": "1", "KEY": {"secret_text": [{"secret": "TOKEN"}]}},
            "ports": ["8081:5000", "127.0.0.1:0:5000", "53:53/udp"],
            "volumes": ["data:/data:ro", "/srv/conf:/etc/conf:ro"],
            "networks": ["net", "other"], "aliases": ["app"], "restart": "on-failure:3",
            "mem_limit": "512m", "cpus": 1.5, "labels": {"mine": "yes"}, "user": "1:1", "working_dir": "/w",
            "hostname": "h", "init": true, "read_only": true, "extra_hosts": ["a:1.2.3.4"], "stop_signal": "SIGINT",
            "service": "shop", "role": "live",
            "healthcheck": {"test": ["curl", "x"], "interval": "5s", "retries": 2},
        }));
        let vault = Vault::new(|name| (name == "TOKEN").then(|| "hunter2".into()));
        let body = create_body(&spec, [("deployer.run", "r".to_owned())], &vault).unwrap();
        assert_eq!(body.image.as_deref(), Some("web:v2"));
        assert_eq!(body.env.unwrap(), ["A=1", "KEY=hunter2"]);
        assert_eq!(body.exposed_ports.unwrap(), ["5000/tcp", "53/udp"]);
        let labels = body.labels.unwrap();
        for (key, value) in
            [("mine", "yes"), ("deployer.run", "r"), ("deployer.service", "shop"), ("deployer.role", "live")]
        {
            assert_eq!(labels[key], value);
        }
        assert_eq!(body.healthcheck.unwrap().test.unwrap(), ["CMD", "curl", "x"]);
        assert_eq!(body.stop_signal.as_deref(), Some("SIGINT"));
        let host = body.host_config.unwrap();
        let bindings = host.port_bindings.unwrap();
        let http = bindings["5000/tcp"].as_ref().unwrap();
        assert_eq!(http[0].host_port.as_deref(), Some("8081"));
        assert_eq!((http[1].host_ip.as_deref(), http[1].host_port.as_deref()), (Some("127.0.0.1"), Some("")));
        assert_eq!(host.network_mode.as_deref(), Some("net"));
        assert_eq!(host.memory, Some(512 << 20));
        assert_eq!(host.nano_cpus, Some(1_500_000_000));
        assert_eq!(host.restart_policy.unwrap().maximum_retry_count, Some(3));
        assert_eq!(host.binds.unwrap(), ["/srv/conf:/etc/conf:ro"]);
        let mounts = host.mounts.unwrap();
        assert_eq!((mounts[0].source.as_deref(), mounts[0].read_only), (Some("data"), Some(true)));
        let networks = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(networks.len(), 1);
        assert_eq!(networks["net"].aliases.as_deref(), Some(&["app".to_owned()][..]));
    }

    #[test]
    fn the_default_bridge_gets_no_aliases() {
        assert_eq!(endpoint("bridge", &["app".into()]).aliases, None);
        assert_eq!(endpoint("net", &[]).aliases, None);
    }

    #[test]
    fn a_missing_secret_is_an_error() {
        let spec = spec(serde_json::json!({
            "name": "web", "image": "web", "environment": {"KEY": {"secret_text": [{"secret": "TOKEN"}]}},
        }));
        let error = create_body(&spec, [], &Vault::empty()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::MissingSecret);
    }
}
