//! Code that integration tests share: the binary in a hermetic environment, HTTP clients, the real Docker engine, git
//! repositories, servers on loopback, and a fake engine whose containers the test controls.
#![allow(dead_code, reason = "each test program uses only some of it")]

pub mod apps;
pub mod async_http;
pub mod crashing_deployer;
pub mod deadline;
pub mod demo;
pub mod deployer;
pub mod docker;
pub mod documented_errors;
pub mod fake_engine;
pub mod forwarder;
pub mod git_repo;
pub mod http;
pub mod leak_detector;
pub mod load;
pub mod lock_scenarios;
pub mod logo_app;
pub mod logs_server;
pub mod manual_app;
pub mod plans;
pub mod ports;
pub mod private_daemon;
pub mod proxy_process;
pub mod route_program;
pub mod s3_server;
pub mod signature;
pub mod small_disk;
pub mod smtp_receiver;
pub mod snapshot;
pub mod steady_client;
pub mod sweep;
pub mod target;
pub mod watched_run;
pub mod webhook_receiver;
pub mod writer;

use std::time::Duration;

/// Polls until `poll` returns a value, for at most a minute.
#[track_caller]
pub fn until<T>(what: &str, poll: impl FnMut() -> Option<T>) -> T {
    deadline::until(what, Duration::from_secs(60), poll)
}
