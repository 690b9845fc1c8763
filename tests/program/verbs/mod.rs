//! The commands on the local engine: exit codes, signals, kills, formats, secrets, and faults of the environment.

mod approvals;
mod demo;
mod exit_codes;
mod faulty_environment;
mod formats;
mod kills;
mod secrets;
mod service;
mod signals;
