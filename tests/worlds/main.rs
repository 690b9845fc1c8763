//! The worlds: the conformance suite that all of them pass, and tests of each world.

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod local_fixture;
mod local_state;
mod local_world;
mod services;
mod sim_world;
mod volume_copies;
