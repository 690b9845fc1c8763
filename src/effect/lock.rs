//! Locks: one run per service and host. Each time a lock is acquired it gets a number, its *epoch*, which is greater
//! than all before.

use serde::{Deserialize, Serialize};

use super::category::category;
use super::container::Removed;
use super::effect_spec::DEFAULT_DEADLINE;
use super::request::request;
use super::{EffectError, ErrorKind};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;

category! {
    /// Actions on locks.
    Lock: LockEffect => LockOutcome {
        Acquire(AcquireLock),
        Release(ReleaseLock),
        Inspect(InspectLock),
        Break(BreakLock),
        List(ListLocks),
    }
}

/// `lock`: acquires the lock of a service for this run, until the run ends.
///
/// A lock whose holder is provably dead is taken over. If this run already holds the lock, the process that asks
/// becomes the holder; the process that held it before must be provably dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireLock {
    /// The service.
    pub service: String,
    /// How long to wait for another run to release it. Default 0 s.
    #[serde(default)]
    pub wait: DurationText,
}

request! {
    AcquireLock {
        kind: "lock",
        reply: Locked,
        access: Write,
        recovery: Repeat,
        deadline: |acquire| acquire.wait.0.saturating_add(DEFAULT_DEADLINE),
        interruptible: true,
        subject: service,
    }
}

/// The lock that this run now holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The killed run that held it before, if it was taken over.
    #[serde(default)]
    pub taken_over_from: Option<RunId>,
    /// Greater than that of every run that held it before. A resumed run keeps its epoch.
    #[serde(default)]
    pub epoch: u64,
}

/// Returns the epoch of a new lock: greater than the newest known one, and than all earlier ones even if everything that
/// carried them was removed, as long as the clock does not go back. `unix_ms`: milliseconds since 1970, UTC.
pub fn next_epoch(newest: u64, unix_ms: i64) -> u64 {
    newest.saturating_add(1).max(u64::try_from(unix_ms).unwrap_or_default())
}

/// `unlock`: releases a lock. The lock of another run is left alone, and so is the lock of this run if another living
/// process holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLock {
    /// The service.
    pub service: String,
}

request! {
    ReleaseLock {
        kind: "unlock",
        reply: (),
        access: Write,
        recovery: Repeat,
        subject: service,
    }
}

/// `lock_inspect`: reads who holds the lock of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectLock {
    /// The service.
    pub service: String,
}

request! {
    InspectLock {
        kind: "lock_inspect",
        reply: LockView,
        access: Read,
        subject: service,
    }
}

/// `lock_list`: lists the locks that are held, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLocks {}

request! {
    ListLocks {
        kind: "lock_list",
        reply: Vec<HeldLock>,
        access: Read,
        subject: |_| String::new(),
    }
}

/// A lock and its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// The service.
    pub service: String,
    /// Who holds it.
    #[serde(flatten)]
    pub holder: LockHolder,
}

impl HeldLock {
    /// Returns whether the process that holds it has certainly ended, as far as can be told from here.
    pub fn is_dead(&self) -> bool {
        self.holder.state == HolderState::Dead
    }

    /// Returns when it was acquired, as RFC 3339 in UTC.
    pub fn since(&self) -> Option<String> {
        jiff::Timestamp::from_millisecond(self.holder.since_ms).ok().map(|at| format!("{at:.0}"))
    }
}

/// The lock of a service as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// Who holds it; missing if it is free.
    pub holder: Option<LockHolder>,
    /// The greatest epoch that the lock or any object of the service carries; 0 for none.
    pub newest_epoch: u64,
}

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The run.
    pub run: RunId,
    /// The host name of its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// When it acquired the lock, in milliseconds since 1970, UTC.
    pub since_ms: i64,
    /// The epoch of the lock.
    pub epoch: u64,
    /// Whether its process lives.
    pub state: HolderState,
    /// Whether it is the process that asks.
    pub is_this_process: bool,
}

/// What is known of a lock holder's process from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderState {
    /// It runs on this machine.
    Alive,
    /// It has certainly ended.
    Dead,
    /// It is on another machine or in another container.
    Unknown,
}

impl LockHolder {
    /// Describes the holder for people: run, process, host, since when and for how long.
    pub fn describe(&self, now_ms: i64) -> String {
        let since = jiff::Timestamp::from_millisecond(self.since_ms)
            .map_or_else(|_| "unknown".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        let seconds = u64::try_from(now_ms.saturating_sub(self.since_ms)).unwrap_or_default() / 1_000;
        let age = DurationText::secs(seconds);
        format!("run `{}`, process {} on host `{}`, since {since} ({age} ago)", self.run, self.pid, self.host)
    }

    /// Returns the error for a service that this holder keeps locked. The hint assumes the default engine and state
    /// folder.
    pub fn locked(&self, service: &str, now_ms: i64) -> EffectError {
        EffectError::new(ErrorKind::Locked, format!("`{service}` is locked by {}", self.describe(now_ms)))
            .hint(wait_or_unlock(service, ""))
            .not_applied()
    }
}

/// Returns what to type when another run holds the lock. `flags` select its engine and its journal.
pub fn wait_or_unlock(service: &str, flags: &str) -> String {
    let flags = if flags.is_empty() { String::new() } else { format!(" {flags}") };
    format!(
        "wait for it: `deployer run ... --lock-wait 10m`; if that run has ended: `deployer unlock {service}{flags}`"
    )
}

/// `lock_break`: takes a lock from exactly this run, even if its process lives. A lock that another run has acquired
/// since is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakLock {
    /// The service.
    pub service: String,
    /// The run that must hold the lock.
    pub run: RunId,
}

request! {
    BreakLock {
        kind: "lock_break",
        reply: Removed,
        access: Write,
        recovery: Repeat,
        subject: service,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_described_with_its_age() {
        let holder = LockHolder {
            run: RunId::from_bytes([1; 10]),
            host: "box".into(),
            pid: 7,
            since_ms: 1_700_000_000_000,
            epoch: 3,
            state: HolderState::Alive,
            is_this_process: false,
        };
        let text = holder.describe(1_700_000_062_500);
        assert!(text.ends_with("process 7 on host `box`, since 2023-11-14 22:13:20 UTC (1m2s ago)"), "{text}");
        assert!(holder.describe(0).ends_with("(0s ago)"), "a clock that jumped back");
    }
}
