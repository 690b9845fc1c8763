//! `docker_stats`: what a container uses of the machine.

use serde::{Deserialize, Serialize};

use crate::base::container_ref::ContainerRef;
use crate::effect::{Access, Facts, Request};

/// `docker_stats`: what a running container uses, measured over a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadStats {
    pub container: ContainerRef,
}

impl Facts for ReadStats {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for ReadStats {
    const KIND: &'static str = "docker_stats";
    type Reply = Stats;
}

/// What a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// 100 is one processor.
    pub cpu_percent: f64,
    /// Bytes, without what the kernel keeps of files and gives back when asked.
    pub memory: u64,
    /// Bytes; none when there is no limit.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    pub processes: u64,
    /// Bytes since its start; none where they cannot be told apart from others'.
    #[serde(default)]
    pub network_in: Option<u64>,
    #[serde(default)]
    pub network_out: Option<u64>,
    #[serde(default)]
    pub disk_read: Option<u64>,
    #[serde(default)]
    pub disk_written: Option<u64>,
}
