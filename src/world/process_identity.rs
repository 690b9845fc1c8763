//! The identity of a process, which tells whether the holder of a lock still runs. Knows nothing of how locks are
//! stored.

use std::io;

use serde::{Deserialize, Serialize};

use crate::effect::lock::HolderState;

/// Identifies one process on one machine, even after its PID is reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The host name.
    pub host: String,
    /// The machine id, which distinguishes machines of the same name. Empty where there is none (most containers).
    #[serde(default)]
    pub machine: String,
    /// The process id, valid within its PID namespace.
    pub pid: u32,
    /// The boot id, which changes with every boot of the machine.
    pub boot_id: String,
    /// The PID namespace.
    #[serde(default)]
    pub pid_namespace: String,
    /// When the process started, in clock ticks since boot.
    pub process_start: u64,
}

// Indexes into the fields of `/proc/PID/stat` after the process name, which may itself contain spaces and parentheses.
// The first one is the state, field 3 in proc(5); the start time is field 22.
const STATE: usize = 0;
const START_TIME: usize = 22 - 3;

impl ProcessIdentity {
    /// Returns the identity of the current process.
    ///
    /// # Errors
    ///
    /// Returns an error when `/proc` cannot be read.
    pub fn this_process() -> io::Result<Self> {
        let pid = std::process::id();
        let start = process_start(pid).ok_or_else(|| io::Error::other("`/proc/self/stat` cannot be read"))?;
        Ok(Self {
            host: nix::unistd::gethostname()?.to_string_lossy().into_owned(),
            machine: machine_id(),
            pid,
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            pid_namespace: pid_namespace()?,
            process_start: start,
        })
    }

    /// Returns whether this process has certainly ended, as seen by the process `here`. False when that cannot be
    /// known, such as for another machine or another container.
    pub fn is_provably_dead(&self, here: &Self) -> bool {
        self.state(here) == HolderState::Dead
    }

    /// Returns what the process `here` can know about this one.
    pub fn state(&self, here: &Self) -> HolderState {
        if self == here {
            return HolderState::Alive;
        }
        if self.host != here.host || self.machine != here.machine {
            return HolderState::Unknown;
        }
        if self.boot_id != here.boot_id {
            // Without a machine id, two containers of the same name on two machines look like one machine before and
            // after a reboot.
            return if self.machine.is_empty() { HolderState::Unknown } else { HolderState::Dead };
        }
        if self.pid_namespace != here.pid_namespace {
            return HolderState::Unknown;
        }
        let is_alive = process_start(self.pid) == Some(self.process_start);
        if is_alive { HolderState::Alive } else { HolderState::Dead }
    }
}

fn machine_id() -> String {
    std::fs::read_to_string("/etc/machine-id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn pid_namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned())
}

/// Returns when the process started. `None` when it does not exist or is a zombie.
fn process_start(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(*fields.get(STATE)?, "Z" | "X") {
        return None;
    }
    fields.get(START_TIME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_process_is_alive() {
        let here = ProcessIdentity::this_process().unwrap();
        assert!(!here.is_provably_dead(&here));
        assert_eq!(here, ProcessIdentity::this_process().unwrap());
    }

    #[test]
    fn distinguishes_dead_from_unknown() {
        let here = ProcessIdentity::this_process().unwrap();
        let reused = ProcessIdentity { process_start: here.process_start + 1, ..here.clone() };
        assert!(reused.is_provably_dead(&here), "the PID was reused");
        let here = ProcessIdentity { machine: "m1".into(), ..here };
        let reused = ProcessIdentity { machine: "m1".into(), ..reused };
        let rebooted = ProcessIdentity { boot_id: "before".into(), ..here.clone() };
        assert!(rebooted.is_provably_dead(&here));
        let namesake = ProcessIdentity { machine: "m2".into(), ..rebooted.clone() };
        assert_eq!(namesake.state(&here), HolderState::Unknown, "another machine of the same name");
        let nameless = ProcessIdentity { machine: String::new(), ..here.clone() };
        let before = ProcessIdentity { boot_id: "before".into(), ..nameless.clone() };
        assert_eq!(before.state(&nameless), HolderState::Unknown, "may be a container on another machine");
        let elsewhere = ProcessIdentity { host: "elsewhere".into(), ..reused.clone() };
        assert!(!elsewhere.is_provably_dead(&here));
        let contained = ProcessIdentity { pid_namespace: "pid:[1]".into(), ..reused };
        assert!(!contained.is_provably_dead(&here));
    }

    #[test]
    fn a_finished_child_is_dead_even_before_it_is_reaped() {
        let here = ProcessIdentity::this_process().unwrap();
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let start = process_start(child.id()).unwrap();
        let holder = ProcessIdentity { pid: child.id(), process_start: start, ..here.clone() };
        assert!(!holder.is_provably_dead(&here));
        drop(child.stdin.take());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !holder.is_provably_dead(&here) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(holder.is_provably_dead(&here));
        child.wait().unwrap();
    }
}
