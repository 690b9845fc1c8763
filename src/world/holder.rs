//! Who holds a lock: one process of one machine, told apart from a later process that was given the same pid.
//! Knows nothing of locks themselves, nor of where they are kept.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process on a machine. The start time and the boot id make a reused pid another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub host: String,
    pub pid: u32,
    /// `/proc/sys/kernel/random/boot_id`; empty where it cannot be read.
    pub boot_id: String,
    /// Clock ticks after boot at which the process started; 0 where that cannot be read.
    pub process_start: u64,
}

/// The start time in `/proc/PID/stat`, counted from 1.
const START_FIELD: usize = 22;
/// The first field after the program's name, which may itself contain blanks and brackets.
const FIRST_FIELD_AFTER_NAME: usize = 3;

impl Holder {
    /// The process that runs this code.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            host: nix::unistd::gethostname()
                .map_or_else(|_| String::from("localhost"), |name| name.to_string_lossy().into_owned()),
            pid,
            boot_id: boot_id(),
            process_start: start_of(pid).unwrap_or(0),
        }
    }

    /// Whether the process certainly does not run any more, as seen from `here`.
    /// Of a process on another host nothing can be known: false.
    pub fn is_provably_dead(&self, here: &Self) -> bool {
        if self.host != here.host {
            return false;
        }
        if self.boot_id != here.boot_id {
            return true;
        }
        start_of(self.pid) != Some(self.process_start)
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(START_FIELD - FIRST_FIELD_AFTER_NAME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_process_of_this_machine_is_provably_dead() {
        let here = Holder::this_process();
        assert!(!here.is_provably_dead(&here));
        assert!(Holder { process_start: here.process_start + 1, ..here.clone() }.is_provably_dead(&here));
        assert!(Holder { boot_id: "another boot".into(), ..here.clone() }.is_provably_dead(&here));
        assert!(Holder { pid: u32::MAX, ..here.clone() }.is_provably_dead(&here));
        assert!(!Holder { host: "elsewhere".into(), pid: u32::MAX, ..here.clone() }.is_provably_dead(&here));
    }
}
