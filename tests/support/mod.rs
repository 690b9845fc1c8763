//! What the end-to-end tests stand on: the binary in a hermetic box, a visitor, real Docker, real repositories.

#![allow(dead_code, reason = "every test binary uses its own part of it")]

pub mod apps;
pub mod deadline;
pub mod deployer;
pub mod docker;
pub mod git_repo;
pub mod http;
pub mod ports;
pub mod receiver;
pub mod scene;
pub mod snapshot;
pub mod visitor;
