//! Processes of this machine, identified by pid, start time and boot, so that a reused pid is recognised. Knows nothing
//! of containers.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::effect::{EffectError, ErrorKind};

/// The identity of a process, as recorded for others to find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// Start time in clock ticks after boot.
    pub(crate) start: u64,
    pub(crate) boot_id: String,
}

/// The fields of `/proc/PID/stat` that are used here.
struct Stat {
    state: char,
    group: u32,
    session: u32,
    start: u64,
}

impl ProcessId {
    /// Returns the process that has this pid now, which may be a zombie.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start: stat.start, boot_id: boot_id() })
    }

    /// Returns whether this process is still running. A zombie is not.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, 'Z' | 'X' | 'x'))
            && self.boot_id == boot_id()
    }

    /// Signals the group that this process leads, if the process is still running. Returns whether the signal was sent.
    pub(crate) fn signal_group(&self, signal: Signal) -> bool {
        self.is_alive() && killpg(as_pid(self.pid), signal).is_ok()
    }

    /// Returns whether every thread of the group that this process leads is stopped or has exited.
    pub(crate) fn is_group_stopped(&self) -> bool {
        let of_group = |pid: &u32| stat(*pid).is_some_and(|stat| stat.group == self.pid);
        all_pids().into_iter().filter(of_group).all(|pid| {
            let threads = pids_in(Path::new(&format!("/proc/{pid}/task")));
            threads.into_iter().filter_map(stat).all(|thread| matches!(thread.state, 'T' | 't' | 'Z' | 'X' | 'x'))
        })
    }

    /// Returns all processes of the session that this process leads, itself included.
    pub(crate) fn session(&self) -> Vec<u32> {
        all_pids().into_iter().filter(|pid| stat(*pid).is_some_and(|stat| stat.session == self.pid)).collect()
    }

    /// Kills all other processes of the session that this process leads, or led before it died.
    pub(crate) fn kill_session(&self) {
        // A pid is reused only after the last process of its session has exited.
        let is_reused = stat(self.pid).is_some_and(|stat| stat.start != self.start);
        if is_reused || self.boot_id != boot_id() {
            return;
        }
        for pid in all_pids().into_iter().filter(|pid| *pid != self.pid) {
            if stat(pid).is_some_and(|stat| stat.session == self.pid && stat.start >= self.start) {
                let _ = kill(as_pid(pid), Signal::SIGKILL);
            }
        }
    }
}

fn all_pids() -> Vec<u32> {
    pids_in(Path::new("/proc"))
}

fn pids_in(folder: &Path) -> Vec<u32> {
    fs::read_dir(folder).map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
    )
}

/// Returns the pid in the type of the system calls. No Linux pid exceeds 2^22.
pub(crate) fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program name is in parentheses and may itself contain parentheses and spaces.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// Parses a signal: `SIGTERM`, `TERM` or `15`.
///
/// # Errors
/// Returns `invalid` if there is no such signal.
pub(crate) fn parse_signal(text: &str) -> Result<Signal, EffectError> {
    let upper = text.trim().to_ascii_uppercase();
    let by_number = upper.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    by_number.or_else(|| full.parse().ok()).ok_or_else(|| {
        let hint = crate::base::suggest::did_you_mean(&full, Signal::iterator().map(Signal::as_str))
            .unwrap_or_else(|| "write it like `SIGTERM`, `TERM` or `15`".into());
        EffectError::new(ErrorKind::Invalid, format!("`{text}` is not a signal")).hint(hint).not_applied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_another_process() {
        let this = ProcessId::of(std::process::id()).unwrap();
        assert!(this.is_alive());
        assert!(!ProcessId { start: this.start + 1, ..this.clone() }.is_alive());
        assert!(!ProcessId { boot_id: "another".into(), ..this }.is_alive());
    }

    #[test]
    fn a_group_is_stopped_when_all_its_threads_are() {
        use std::os::unix::process::CommandExt;
        let line = "sleep 600 & while :; do :; done";
        let mut shell = std::process::Command::new("sh").args(["-c", line]).process_group(0).spawn().unwrap();
        let mark = ProcessId::of(shell.id()).unwrap();
        assert!(!mark.is_group_stopped());
        assert!(mark.signal_group(Signal::SIGSTOP));
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !mark.is_group_stopped() {
            assert!(std::time::Instant::now() < end);
        }
        assert!(mark.signal_group(Signal::SIGKILL));
        shell.wait().unwrap();
    }

    #[test]
    fn parses_names_and_numbers_of_signals() {
        for text in ["SIGTERM", "term", "15", " TERM "] {
            assert_eq!(parse_signal(text).unwrap(), Signal::SIGTERM, "{text}");
        }
        assert_eq!(parse_signal("SIGTERMM").unwrap_err().hint.unwrap(), "did you mean `SIGTERM`?");
        assert!(parse_signal("0").is_err());
    }
}
