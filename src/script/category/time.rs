//! Time.

use super::DURATION;
use crate::effect::time::{Now, Sleep};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<Sleep>("Waits for a duration.")
            .positional(&["duration"])
            .required("duration", DURATION, "how long to wait")
            .example("sleep(\"5s\")"),
        Primitive::of::<Now>("Returns the current time.")
            .returns("unix_ms (milliseconds since 1970, UTC), text (RFC 3339)")
            .example("now()"),
    ]
}
