//! The verbs as a user meets them, on the local engine: exit codes, signals, kills, formats, secrets, and bad days.

#[path = "../support/mod.rs"]
mod support;

mod approvals;
mod bad_days;
mod demo;
mod exit_codes;
mod formats;
mod kills;
mod secrets;
mod service;
mod signals;
