//! Programs on the machine that runs deployer.

use super::{BOOL, DONE_WHEN, DURATION, IDEMPOTENT, LIST, MAP, SECRET, SIZE, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, MissingTool, NotFound, Refused};
use crate::effect::exec::Exec;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<Exec>("Runs a program with arguments, on the machine that runs deployer. No shell reads them unless `shell` asks for one.")
            .positional(&["command"])
            .optional("command", LIST, "none", "program and arguments; may be secrets")
            .optional("shell", SECRET, "none", "a line for /bin/sh, in place of `command`")
            .optional("working_dir", STRING, "deployer's own", "where it starts")
            .optional("environment", MAP, "#{}", "more environment variables; may be secrets")
            .optional("stdin", SECRET, "nothing", "what it reads")
            .optional("timeout", DURATION, "\"60s\"", "after which it and its children are killed")
            .optional("check", BOOL, "true", "fails when it ends with another code than 0")
            .optional("output_limit", SIZE, "\"64k\"", "bytes kept of each stream; the end is kept")
            .optional("idempotent", BOOL, "false", IDEMPOTENT)
            .optional("done_when", LIST, "none", DONE_WHEN)
            .returns("exit_code, stdout, stderr, truncated")
            .undo("none: what a program did only another program can undo, see `on_rollback`")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret])
            .example("exec([\"true\"])"),
    ]
}
