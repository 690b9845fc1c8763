//! Service locks.

use super::{DURATION, STRING};
use crate::effect::ErrorKind::{Failed, Locked, Refused, Unfinished};
use crate::effect::lock::{AcquireLock, ListLocks};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<AcquireLock>(
            "Locks a service for this run until the run ends. Takes over a lock whose process is provably dead.",
        )
        .positional(&["service"])
        .required("service", STRING, "name of the service")
        .optional("wait", DURATION, "\"0s\"", "how long to wait for another run to release the lock")
        .returns("taken_over_from: the killed run that held the lock, or (); epoch: number of the lock, which grows each time it is acquired")
        .undo("none needed: the lock is released when the run ends")
        .errors(&[Refused, Failed, Locked, Unfinished])
        .example("lock(\"web\")"),
        Primitive::of::<ListLocks>("Lists held locks, by service.")
            .returns("a list of: service, run, host, pid, since, dead (the process no longer exists)")
            .errors(&[Refused, Failed])
            .example("lock_list()"),
    ]
}
