//! Tests of the whole program and of the Docker world against a real engine.

#[path = "../support/mod.rs"]
mod support;

mod bluegreen;
mod canary;
mod compose;
mod cutover;
mod daemon_restart;
mod database_deploys;
mod database_effects;
mod demo;
mod examples;
mod failed_deploys;
mod fixtures;
mod kills;
mod lock;
mod plan;
mod resume;
mod route;
mod row_loss;
mod safe_deploy;
mod secrets;
mod world;
