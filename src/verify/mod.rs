//! Proves a script before it runs: runs it in the simulated world under every fault and every crash, and holds what
//! must be true against what came of it. Knows the simulated world and the journal in memory; no real world, no terminal.

pub mod attempt;
mod baseline;
pub mod case;
mod chance;
pub mod handbook;
mod judge;
mod mortal;
pub mod property;
pub mod rehearsal;
pub mod search;
mod shrink;
pub mod story;
pub mod subject;
pub mod summary;
mod trace;
pub mod violation;
