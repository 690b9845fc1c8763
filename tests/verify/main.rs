//! `verify` in the simulated world: what it finds in the guides and in seeded mistakes, that the shipped scripts have
//! no violations, and that the same seed gives the same runs.

mod closures;
mod deploy_cases;
mod docker_agreement;
mod docker_host;
mod end_state;
mod faults_after_restart;
mod fixture;
mod guide_scripts;
mod mistakes;
mod mutations;
mod program;
mod shipped_scripts;
#[path = "../support/mod.rs"]
mod support;
