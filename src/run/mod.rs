//! One execution of a script: start, script, taking back, end. Knows the script and the gateway, no concrete world.

pub mod abort;
pub mod census;
pub mod remedy;
pub mod runner;
pub mod unfinished;
pub mod unwind;
