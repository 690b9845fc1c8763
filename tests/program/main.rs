//! Tests of the whole program without Docker: commands, exit codes, bad input, secrets, and the interactive shell.

#[path = "../docs/current.rs"]
mod current;
#[path = "../support/mod.rs"]
mod support;

mod bad_inputs;
mod bad_journal;
mod keyboard;
mod killed_closures;
mod local;
mod lock;
mod plan;
mod secrets;
mod verbs;
