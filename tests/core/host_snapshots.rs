//! Compares the states of simulated hosts.

use deployer::effect::container::ContainerState;
use deployer::world::sim::{ContainerSnapshot, HostSnapshot};

/// The names of the containers, without the stopped ones of previous releases.
pub fn without_releases(snapshot: &HostSnapshot) -> Vec<&str> {
    let is_kept = |name: &str, container: &ContainerSnapshot| {
        name.starts_with("web-release-") && container.state == ContainerState::Exited
    };
    let all = snapshot.containers.iter().filter(|(name, container)| !is_kept(name, container));
    all.map(|(name, _)| name.as_str()).collect()
}

/// The snapshot without what may stay behind: the network of the compose project, and databases kept by a restore.
pub fn comparable(snapshot: &HostSnapshot) -> HostSnapshot {
    let mut snapshot = snapshot.clone();
    snapshot.networks.remove("site_default");
    for volume in snapshot.volumes.values_mut() {
        volume.databases.retain(|path, _| !path.contains(".replaced-"));
    }
    snapshot
}

/// Returns the lines that differ, with `-` and `+`.
pub fn difference(before: &HostSnapshot, after: &HostSnapshot) -> String {
    let (before, after) = (format!("{before:#?}"), format!("{after:#?}"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(&before), lines(&after));
    let removed = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{}", line.trim()));
    let added = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{}", line.trim()));
    removed.chain(added).collect::<Vec<_>>().join(" ")
}
