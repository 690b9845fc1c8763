//! The embedded reverse proxy: long-lived, never reloaded for a deploy, steered through a unix socket.
//!
//! It knows no script, no journal and no world, and could be lifted out. In reading order:
//!
//! - what it is told: [`command`], [`check`], [`state`] (a fold of commands), [`state_file`];
//! - who gets a request: [`table`] (address, host, path) > [`service`] > [`plan`] (weights, canaries, visitors that stay,
//!   warm ones in reserve) > [`upstream`] (a target at work);
//! - the way of one request: [`listeners`] > [`connection`] > [`forward`] > [`wire`], and back through `answer_body`;
//! - what a cut-over needs: [`drain`], [`hold`], [`mirror`], [`health`], [`window`] (figures);
//! - the process: [`proxy`], [`control`] and [`client`], [`handover`], [`tls`].
//!
//! Three rules make a cut-over lose nothing. A target is chosen and the request counted in under one lock, which the new
//! plan takes too: after a switch nobody is between both, so a count of zero is zero. A request keeps its place until the
//! last byte of its answer. And a request is sent once more only while no byte of it was sent, or when it may be repeated
//! and has no body.

mod access_log;
mod answer_body;
pub mod check;
pub mod client;
pub mod command;
pub mod connection;
pub mod control;
pub mod drain;
pub mod forward;
pub mod handover;
mod headers;
pub mod health;
pub mod hold;
pub mod limits;
pub mod listeners;
mod metrics;
pub mod mirror;
mod notice;
pub mod plan;
mod predecessor;
#[allow(clippy::module_inception)]
pub mod proxy;
mod request_body;
pub mod service;
mod shared;
mod staff;
pub mod state;
pub mod state_file;
mod steering;
pub mod table;
mod threads;
pub mod tls;
mod tunnel;
pub mod upstream;
pub mod window;
pub mod wire;
mod words;

pub use client::Client;
pub use limits::Limits;
pub use proxy::{ProxyOptions, run};
