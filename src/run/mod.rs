//! One execution of a script: start, script, rollback, end. Knows the script and the gateway, but no concrete world.

pub mod closure_error;
mod created_objects;
pub mod inventory;
pub mod pinned_sources;
pub mod remedy;
pub mod reopen;
pub mod rollback;
pub mod runner;
pub mod session_run;
pub mod unfinished;
