//! The embedded reverse proxy: one long-lived process that is never reloaded for a deploy, controlled through a unix
//! socket.
//!
//! It knows no script, no journal and no world, and could become a crate of its own. In reading order:
//!
//! - control: [`command`], `validate`, [`state`] (a fold of commands), [`state_file`], `controller`;
//! - routing: `route_table` (address, host, path) > `routed_service` > `balancer` (weights, canaries, sticky
//!   clients, standby targets) > `upstream` (one target with its counters and connections);
//! - one request: `listeners` > `client_connection` > `forward` > `target_connection`, and back through
//!   `response_body`;
//! - cutover: `drain`, `hold`, `mirror`, `health`, `window` (statistics);
//! - the process: `run`, [`control_socket`] and `control_client`, `handover`, `tls`.
//!
//! Three rules make a cutover lose no request:
//!
//! 1. Choosing a target and counting the request happen under one lock, and a new balancer takes the same lock. After a
//!    switch no request is between the two, so a count of zero really means zero.
//! 2. A request counts as in flight until the last byte of its response.
//! 3. A request is sent again only if none of its bytes were sent, or if its method may be repeated and it has no body.

mod access_log;
mod balancer;
mod client_connection;
pub mod command;
mod connection_context;
mod control_client;
pub mod control_socket;
mod controller;
mod drain;
mod error_response;
mod file_descriptors;
mod forward;
mod handover;
mod headers;
mod health;
mod hold;
mod idle;
mod keep_alive;
mod limits;
mod listeners;
mod metrics;
mod mirror;
mod notice;
mod options;
mod predecessor;
mod replayed_stream;
mod request_body;
mod request_head;
mod request_path;
mod response_body;
mod route_table;
mod routed_service;
mod run;
mod running_proxy;
mod shared;
pub mod state;
pub mod state_file;
mod target_connection;
mod threads;
mod tls;
mod trusted_networks;
mod tunnel;
mod upstream;
mod upstream_pool;
mod validate;
mod window;

pub use control_client::Client;
pub use limits::Limits;
pub use options::ProxyOptions;
pub use run::run;
pub use trusted_networks::TrustedNetworks;
