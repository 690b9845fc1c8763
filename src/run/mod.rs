//! One execution of a script: start, script, taking back, end. Knows the script and the gateway, no concrete world.

pub mod census;
pub mod pinned_sources;
pub mod remedy;
pub mod reopen;
pub mod runner;
pub mod session_run;
pub mod unfinished;
pub mod unwind;
