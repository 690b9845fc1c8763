//! The lock of a service.

use super::{DURATION, STRING};
use crate::effect::ErrorKind::{Failed, Locked, Refused, Unfinished};
use crate::effect::lock::{AcquireLock, ListLocks};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<AcquireLock>(
            "Takes the lock of a service for this run, until the run ends. A lock whose holder is provably dead is taken over.",
        )
        .positional(&["service"])
        .required("service", STRING, "the service's name")
        .optional("wait", DURATION, "\"0s\"", "how long to wait for another run to let go")
        .returns("taken_over_from: the killed run that held it, or (); epoch: its number, greater than before")
        .undo("let go of when the run ends, however it ends")
        .errors(&[Refused, Failed, Locked, Unfinished])
        .example("lock(\"web\")"),
        Primitive::of::<ListLocks>("Lists the locks that are held, by service.")
            .returns("a list of: service, run, host, pid, since, dead (the process is certainly gone)")
            .errors(&[Refused, Failed])
            .example("lock_list()"),
    ]
}
