//! What integration tests share: the binary in a hermetic box, a visitor, real Docker, repositories and servers on
//! loopback, and an engine whose containers the test controls.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod apps;
pub mod deadline;
pub mod demo;
pub mod deployer;
pub mod docker;
pub mod forwarder;
pub mod git_repo;
pub mod http;
pub mod logo;
pub mod logs_server;
pub mod own_daemon;
pub mod own_errors;
pub mod planned;
pub mod planted;
pub mod ports;
pub mod proxy_process;
pub mod rivals;
pub mod s3_server;
pub mod scene;
pub mod signature;
pub mod small_disk;
pub mod smtp_receiver;
pub mod snapshot;
pub mod sweep;
pub mod twin_engine;
pub mod visitor;
pub mod watched_run;
pub mod webhook_receiver;
pub mod writer;

use std::time::Duration;

/// Polls until `done` has something, at most a minute.
#[track_caller]
pub fn until<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    deadline::until(what, Duration::from_secs(60), done)
}
