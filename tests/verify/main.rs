//! `verify` in the simulated world: what it finds in the guides and in seeded mistakes, what it says of the shipped
//! scripts, and that the same seed gives the same runs.

mod docker_stage;
mod ending;
mod going_on;
mod guides;
mod mistakes;
mod mutations;
mod program;
mod rig;
mod scenes;
mod shipped;
#[path = "../support/mod.rs"]
mod support;
mod verdicts_docker;
