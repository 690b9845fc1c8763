//! Verifies a script before it runs: executes it in the simulated world under every fault and every crash, and checks
//! the properties after each run. Knows the simulated world and the journal in memory, but no real world and no terminal.

pub mod attempt;
mod attempt_queue;
mod baseline;
pub mod case;
pub mod crash;
mod judge;
pub mod property;
pub mod property_docs;
pub mod search;
mod shrink;
pub mod simulated_run;
mod split_mix;
pub mod story;
pub mod summary;
pub mod target;
mod trace;
mod uncalled_closures;
pub mod violation;
