//! The machine: memory, disk, ports, environment, secrets that are set.

use serde::{Deserialize, Serialize};

use super::family::family;
use super::{Access, Facts, Request};

family! {
    /// What can be asked of the machine.
    Host: HostEffect => HostOutcome {
        Memory(HostMemory),
        Disk(HostDisk),
        Port(PortFree),
        Env(ReadEnv),
        Secret(CheckSecret),
    }
}

/// `host_memory`: memory of the machine that the containers run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemory {}

impl Facts for HostMemory {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        String::new()
    }
}

impl Request for HostMemory {
    const KIND: &'static str = "host_memory";
    type Reply = Memory;
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub total_mb: u64,
    /// What a new process could get; none where the machine cannot be asked (a remote engine).
    #[serde(default)]
    pub available_mb: Option<u64>,
}

/// `host_disk`: room on the file system that holds a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDisk {
    pub path: String,
}

impl Facts for HostDisk {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.path.clone()
    }
}

impl Request for HostDisk {
    const KIND: &'static str = "host_disk";
    type Reply = Disk;
}

/// Room in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub total_mb: u64,
    pub available_mb: u64,
}

/// `port_free`: whether nobody listens on a TCP port of the machine that the containers run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFree {
    pub port: u16,
}

impl Facts for PortFree {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.port.to_string()
    }
}

impl Request for PortFree {
    const KIND: &'static str = "port_free";
    type Reply = PortState;
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    pub free: bool,
    /// The container that published it, where it is one.
    #[serde(default)]
    pub container: Option<String>,
}

/// `env`: an environment variable of deployer's own process. For anything secret use `secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadEnv {
    pub name: String,
}

impl Facts for ReadEnv {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone()
    }
}

impl Request for ReadEnv {
    const KIND: &'static str = "env";
    type Reply = Option<String>;
}

/// `secret`: that a secret is set. Its value stays in the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSecret {
    pub name: String,
}

impl Facts for CheckSecret {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.name.clone()
    }
}

impl Request for CheckSecret {
    const KIND: &'static str = "secret";
    type Reply = ();
}
