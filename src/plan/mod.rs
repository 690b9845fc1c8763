//! What a run would do: the script itself, with reads done for real and changes assumed. Knows the simulated world and
//! the journal in memory, and of a real world its trait alone.

mod downtime;
pub mod plan_world;
mod planning;
mod step;
mod text;

pub use planning::{Failed, Plan, Planning};
pub use step::Step;
