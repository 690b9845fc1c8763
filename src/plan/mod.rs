//! Plans: what a run would do, found by executing the script with real reads and assumed changes. Knows the simulated
//! world, the journal in memory, and only the trait of a real world.

mod comparison;
mod downtime;
pub mod plan_world;
mod planning;
mod step;
mod text;

pub use planning::{Failed, Plan, Planning};
pub use step::Step;
