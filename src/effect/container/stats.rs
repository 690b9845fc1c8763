//! `docker_stats`: the resources that a container uses.

use serde::{Deserialize, Serialize};

use crate::base::container_ref::ContainerRef;
use crate::effect::request::request;

/// `docker_stats`: measures what a running container uses over a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadStats {
    /// The container.
    pub container: ContainerRef,
}

request! {
    ReadStats {
        kind: "docker_stats",
        reply: Stats,
        access: Read,
        subject: container,
    }
}

/// The resources that a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU usage; 100 is one processor.
    pub cpu_percent: f64,
    /// Memory in bytes, without reclaimable page cache.
    pub memory: u64,
    /// The memory limit in bytes, if there is one.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// The number of processes.
    pub processes: u64,
    /// Bytes received since its start; missing if the traffic cannot be attributed to this container.
    #[serde(default)]
    pub network_in: Option<u64>,
    /// Bytes sent since its start, as `network_in`.
    #[serde(default)]
    pub network_out: Option<u64>,
    /// Bytes read from disk since its start.
    #[serde(default)]
    pub disk_read: Option<u64>,
    /// Bytes written to disk since its start.
    #[serde(default)]
    pub disk_written: Option<u64>,
}
