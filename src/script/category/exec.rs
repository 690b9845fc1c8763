//! Programs on the machine that runs deployer.

use super::{BOOL, DONE_WHEN, DURATION, IDEMPOTENT, LIST, MAP, SECRET, SIZE, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, MissingTool, NotFound, Refused};
use crate::effect::exec::Exec;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<Exec>(
            "Runs a program on the machine that runs deployer. No shell is involved unless `shell` is given.",
        )
        .positional(&["command"])
        .optional("command", LIST, "none", "program and arguments; can be secrets")
        .optional("shell", SECRET, "none", "command line for /bin/sh, instead of `command`")
        .optional("working_dir", STRING, "deployer's own", "working directory")
        .optional("environment", MAP, "#{}", "additional environment variables; can be secrets")
        .optional("stdin", SECRET, "nothing", "standard input")
        .optional("timeout", DURATION, "\"60s\"", "time limit; the program and its children are then killed")
        .optional("check", BOOL, "true", "fail if the exit code is not 0")
        .optional("output_limit", SIZE, "\"64k\"", "bytes kept of each stream; the end is kept")
        .optional("idempotent", BOOL, "false", IDEMPOTENT)
        .optional("done_when", LIST, "none", DONE_WHEN)
        .returns("exit_code, stdout, stderr, truncated")
        .undo("none: register one with `on_rollback`")
        .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret])
        .example("exec([\"true\"])"),
    ]
}
