//! Who holds a lock: one process of one machine. Must not know how or where locks are kept.

use std::io;

use serde::{Deserialize, Serialize};

use crate::effect::lock::HolderState;

/// A process, told apart from every other one that had or will have its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub host: String,
    /// Tells machines of one name apart; empty where the machine has no such id (most containers).
    #[serde(default)]
    pub machine: String,
    pub pid: u32,
    /// Changes with every start of the machine.
    pub boot_id: String,
    /// Numbers of processes mean something only within one of these.
    #[serde(default)]
    pub pid_namespace: String,
    /// When the process began, in clock ticks since the machine started.
    pub process_start: u64,
}

/// Fields of `/proc/PID/stat` behind the process's name, which may itself contain blanks and brackets:
/// the first is the state (field 3 of the manual page), the start time is field 22.
const STATE: usize = 0;
const START_TIME: usize = 22 - 3;

impl Holder {
    /// This very process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
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

    /// Whether this process has certainly ended, judged by `here` (a process of the machine that asks).
    /// False whenever it cannot be told: another machine, another container.
    pub fn is_provably_dead(&self, here: &Self) -> bool {
        self.state(here) == HolderState::Dead
    }

    /// What `here`, a process of the machine that asks, can tell of this one.
    pub fn state(&self, here: &Self) -> HolderState {
        // Whoever asks lives.
        if self == here {
            return HolderState::Alive;
        }
        if self.host != here.host || self.machine != here.machine {
            return HolderState::Unknown;
        }
        if self.boot_id != here.boot_id {
            // Two containers of one name on two machines look the same as one machine before and after its start.
            return if self.machine.is_empty() { HolderState::Unknown } else { HolderState::Dead };
        }
        if self.pid_namespace != here.pid_namespace {
            return HolderState::Unknown;
        }
        let lives = process_start(self.pid) == Some(self.process_start);
        if lives { HolderState::Alive } else { HolderState::Dead }
    }
}

fn machine_id() -> String {
    std::fs::read_to_string("/etc/machine-id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn pid_namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned())
}

/// When the process began; none if there is none, or only what is left of it until its parent asks.
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
    fn this_process_lives() {
        let here = Holder::this_process().unwrap();
        assert!(!here.is_provably_dead(&here));
        assert_eq!(here, Holder::this_process().unwrap());
    }

    #[test]
    fn tells_the_dead_from_the_unknown() {
        let here = Holder::this_process().unwrap();
        let reused = Holder { process_start: here.process_start + 1, ..here.clone() };
        assert!(reused.is_provably_dead(&here), "the number went to another process");
        let here = Holder { machine: "m1".into(), ..here };
        let reused = Holder { machine: "m1".into(), ..reused };
        let rebooted = Holder { boot_id: "before".into(), ..here.clone() };
        assert!(rebooted.is_provably_dead(&here));
        let namesake = Holder { machine: "m2".into(), ..rebooted.clone() };
        assert_eq!(namesake.state(&here), HolderState::Unknown, "another machine of the same name");
        let nameless = Holder { machine: String::new(), ..here.clone() };
        let before = Holder { boot_id: "before".into(), ..nameless.clone() };
        assert_eq!(before.state(&nameless), HolderState::Unknown, "perhaps another machine's container");
        let elsewhere = Holder { host: "elsewhere".into(), ..reused.clone() };
        assert!(!elsewhere.is_provably_dead(&here));
        let boxed = Holder { pid_namespace: "pid:[1]".into(), ..reused };
        assert!(!boxed.is_provably_dead(&here));
    }

    #[test]
    fn a_finished_child_is_dead_even_before_it_is_reaped() {
        let here = Holder::this_process().unwrap();
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let start = process_start(child.id()).unwrap();
        let holder = Holder { pid: child.id(), process_start: start, ..here.clone() };
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
