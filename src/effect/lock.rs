//! One run per service and host. Each time that a lock is taken it gets a number, its *epoch*, greater than before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::Removed;
use super::family::family;
use super::{Access, EffectError, ErrorKind, Facts, Recovery, Request};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;

family! {
    /// What can be asked of locks.
    Lock: LockEffect => LockOutcome {
        Acquire(AcquireLock),
        Release(ReleaseLock),
        Look(LookLock),
        Break(BreakLock),
        List(ListLocks),
    }
}

/// `lock`: takes the lock of a service for this run; held until the run ends.
/// A lock whose holder is provably dead is taken over. A run that holds it already holds it on, as the process that
/// asks: the one that held it before must be provably dead then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireLock {
    pub service: String,
    /// How long to wait for another run to let go. Default 0 s.
    #[serde(default)]
    pub wait: DurationText,
}

impl Facts for AcquireLock {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.wait.0.saturating_add(super::facts::PATIENCE)
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for AcquireLock {
    const KIND: &'static str = "lock";
    type Reply = Locked;
}

/// The lock that this run now holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The killed run that held it before, when it was taken over.
    #[serde(default)]
    pub taken_over_from: Option<RunId>,
    /// Greater than that of every run that held it before. A run that is resumed keeps its own.
    #[serde(default)]
    pub epoch: u64,
}

/// `unlock`: lets go. Another run's lock is left alone, and so is this run's when another living process has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLock {
    pub service: String,
}

impl Facts for ReleaseLock {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for ReleaseLock {
    const KIND: &'static str = "unlock";
    type Reply = ();
}

/// `lock_look`: who holds the lock of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookLock {
    pub service: String,
}

impl Facts for LookLock {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for LookLock {
    const KIND: &'static str = "lock_look";
    type Reply = LockView;
}

/// `lock_list`: the locks that are held, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLocks {}

impl Facts for ListLocks {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        String::new()
    }
}

impl Request for ListLocks {
    const KIND: &'static str = "lock_list";
    type Reply = Vec<HeldLock>;
}

/// A lock and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    pub service: String,
    #[serde(flatten)]
    pub holder: LockHolder,
}

impl HeldLock {
    /// Whether the process that holds it is certainly gone, as far as the one who asked can tell.
    pub fn is_dead(&self) -> bool {
        self.holder.state == HolderState::Dead
    }

    /// RFC 3339, UTC.
    pub fn since(&self) -> Option<String> {
        jiff::Timestamp::from_millisecond(self.holder.since_ms).ok().map(|at| format!("{at:.0}"))
    }
}

/// The lock of a service as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// None when nobody holds it.
    pub holder: Option<LockHolder>,
    /// The greatest epoch that the lock or anything of the service carries; 0 for none.
    pub newest_epoch: u64,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    pub run: RunId,
    pub host: String,
    pub pid: u32,
    pub since_ms: i64,
    pub epoch: u64,
    pub state: HolderState,
    /// Whether it is the process that asks.
    pub is_this_process: bool,
}

/// What can be told of a process from here.
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
    /// For people: run, process, host, since when and for how long.
    pub fn words(&self, now_ms: i64) -> String {
        let since = jiff::Timestamp::from_millisecond(self.since_ms)
            .map_or_else(|_| "unknown".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        let seconds = u64::try_from(now_ms.saturating_sub(self.since_ms)).unwrap_or_default() / 1_000;
        let age = DurationText::secs(seconds);
        format!("run `{}`, process {} on host `{}`, since {since} ({age} ago)", self.run, self.pid, self.host)
    }

    /// The error for a service that this holder keeps locked; the hint takes the default engine and state folder.
    pub fn locked(&self, service: &str, now_ms: i64) -> EffectError {
        EffectError::new(ErrorKind::Locked, format!("`{service}` is locked by {}", self.words(now_ms)))
            .hint(wait_or_unlock(service, ""))
            .not_applied()
    }
}

/// What to type when another run holds the lock; `flags` lead to its engine and its journal.
pub fn wait_or_unlock(service: &str, flags: &str) -> String {
    let flags = if flags.is_empty() { String::new() } else { format!(" {flags}") };
    format!(
        "wait for it: `deployer run ... --lock-wait 10m`; if it is gone for good: `deployer unlock {service}{flags}`"
    )
}

/// `lock_break`: takes the lock away from exactly this run, whoever holds it. A lock that changed hands is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakLock {
    pub service: String,
    pub run: RunId,
}

impl Facts for BreakLock {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for BreakLock {
    const KIND: &'static str = "lock_break";
    type Reply = Removed;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_in_words() {
        let holder = LockHolder {
            run: RunId::from_bytes([1; 10]),
            host: "box".into(),
            pid: 7,
            since_ms: 1_700_000_000_000,
            epoch: 3,
            state: HolderState::Alive,
            is_this_process: false,
        };
        let words = holder.words(1_700_000_062_500);
        assert!(words.ends_with("process 7 on host `box`, since 2023-11-14 22:13:20 UTC (1m2s ago)"), "{words}");
        assert!(holder.words(0).ends_with("(0s ago)"), "a clock that jumped back");
    }
}
