//! Asking a person.

use super::{DURATION, STRING};
use crate::effect::ErrorKind::{Failed, Refused, Unsupported};
use crate::effect::approval::AwaitApproval;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<AwaitApproval>(
            "Waits until somebody answers with `deployer approve RUN` (`--no` for no, `--note TEXT`), from any terminal \
             of this machine. Nobody in time means no. What was answered first counts, and stays in the journal; a run \
             that is resumed goes on waiting.",
        )
        .positional(&["question"])
        .required("question", STRING, "what somebody is to say yes to")
        .optional("timeout", DURATION, "\"30m\"", "from the first time it was asked; at most 7 days")
        .returns("approved, timed_out, by (`user@host`), note, at_unix_ms")
        .undo("none: it was answered")
        .errors(&[Refused, Failed, Unsupported])
            .example("if !approval_wait(\"go on to 10 %?\", #{timeout: \"10m\"}).approved { log(\"nobody said yes\"); }"),
    ]
}
