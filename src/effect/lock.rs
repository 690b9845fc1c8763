//! One run per service and host.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::family::family;
use super::{Access, Facts, Recovery, Request};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;

family! {
    /// What can be asked of locks.
    Lock: LockEffect => LockOutcome {
        Acquire(AcquireLock),
        Release(ReleaseLock),
        List(ListLocks),
    }
}

/// `lock`: takes the lock of a service for this run; held until the run ends.
/// A lock whose holder is provably dead is taken over.
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
        self.wait.0 + super::facts::PATIENCE
    }

    fn interruptible(&self) -> bool {
        self.wait.0 > Duration::ZERO
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
}

/// `unlock`: lets go. Another run's lock is left alone.
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
    pub run: RunId,
    pub host: String,
    pub pid: u32,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub since: Option<String>,
    /// Whether the process that holds it is certainly gone, as far as the one who asks can tell.
    pub dead: bool,
}
