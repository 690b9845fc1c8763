//! The machine: memory, disk, ports, environment variables, secrets.

use serde::{Deserialize, Serialize};

use super::category::category;
use super::request::request;

category! {
    /// Questions about the machine.
    Host: HostEffect => HostOutcome {
        Memory(HostMemory),
        Disk(HostDisk),
        Port(PortFree),
        Env(ReadEnv),
        Secret(CheckSecret),
    }
}

/// `host_memory`: reads the memory of the machine that the containers run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemory {}

request! {
    HostMemory {
        kind: "host_memory",
        reply: Memory,
        access: Read,
        subject: |_| String::new(),
    }
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All memory of the machine.
    pub total_mb: u64,
    /// What a new process could get; missing if the machine cannot be asked, as with a remote engine.
    #[serde(default)]
    pub available_mb: Option<u64>,
}

/// `host_disk`: reads the free space of the file system that holds a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDisk {
    /// Any path on the file system.
    pub path: String,
}

request! {
    HostDisk {
        kind: "host_disk",
        reply: Disk,
        access: Read,
        subject: path,
    }
}

/// Disk space in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The size of the file system.
    pub total_mb: u64,
    /// What can still be written.
    pub available_mb: u64,
}

/// `port_free`: checks whether a TCP port is free on the machine that the containers run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFree {
    /// The port.
    pub port: u16,
}

request! {
    PortFree {
        kind: "port_free",
        reply: PortState,
        access: Read,
        subject: port,
    }
}

/// Whether a port is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// Whether nothing listens on it.
    pub free: bool,
    /// The container that published it, if it is one.
    #[serde(default)]
    pub container: Option<String>,
}

/// `env`: reads an environment variable of deployer's own process. Use `secret` for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadEnv {
    /// The variable's name.
    pub name: String,
}

request! {
    ReadEnv {
        kind: "env",
        reply: Option<String>,
        access: Read,
        subject: name,
    }
}

/// `secret`: checks that a secret is set. Its value never leaves the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSecret {
    /// The secret's name.
    pub name: String,
}

request! {
    CheckSecret {
        kind: "secret",
        reply: (),
        access: Read,
        subject: name,
    }
}
