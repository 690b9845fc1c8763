//! Approvals by an operator.

use super::{DURATION, STRING};
use crate::effect::ErrorKind::{Failed, Refused, Unsupported};
use crate::effect::approval::AwaitApproval;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<AwaitApproval>(
            "Waits for an answer by `deployer approve RUN` (`--no` to refuse, `--note TEXT` to comment) from any terminal \
             of this machine. No answer before the timeout is a no. The first answer counts and is journalled. A \
             resumed run continues to wait.",
        )
        .positional(&["question"])
        .required("question", STRING, "the question to approve")
        .optional("timeout", DURATION, "\"30m\"", "time limit from when it was first asked; at most 7 days")
        .returns("approved, timed_out, by (`user@host`), note, at_unix_ms")
        .undo("none: an answer stays given")
        .errors(&[Refused, Failed, Unsupported])
            .example("if !approval_wait(\"continue with 10 %?\", #{timeout: \"10m\"}).approved { log(\"not approved\"); }"),
    ]
}
