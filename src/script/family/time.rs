//! Time.

use super::DURATION;
use crate::effect::time::{Now, Sleep};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<Sleep>("Waits.")
            .positional(&["duration"])
            .required("duration", DURATION, "how long")
            .example("sleep(\"5s\")"),
        Primitive::of::<Now>("Tells the instant.")
            .returns("unix_ms (milliseconds since 1970, UTC), text (RFC 3339)")
            .example("now()"),
    ]
}
