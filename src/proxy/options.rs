//! How a proxy is started.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use super::limits::Limits;
use super::trusted_networks::TrustedNetworks;

/// The settings of one proxy process.
#[derive(Debug)]
pub struct ProxyOptions {
    /// Public addresses that stay open without a route.
    pub listen: Vec<SocketAddr>,
    /// The public addresses that speak TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// The folder with the certificates and their keys.
    pub tls_folder: Option<PathBuf>,
    /// The path of the control socket.
    pub control: PathBuf,
    /// The file that keeps the routes.
    pub state: PathBuf,
    /// The file for the access log; `-` for standard output.
    pub access_log: Option<PathBuf>,
    /// A TCP address for the metrics, in addition to the control socket.
    pub metrics: Option<SocketAddr>,
    /// The networks of the proxies in front, whose forwarded headers are kept.
    pub trusted: TrustedNetworks,
    /// The number of serving threads.
    pub threads: usize,
    /// Limits and timeouts.
    pub limits: Limits,
    /// Whether to replace a proxy that is already running.
    pub take_over: bool,
    /// Sockets from the service manager.
    pub sockets: Vec<TcpListener>,
    /// Where the service manager expects the readiness message (`NOTIFY_SOCKET`).
    pub notify: Option<OsString>,
    /// The program to start for an upgrade.
    pub program: PathBuf,
    /// The arguments to start it with.
    pub arguments: Vec<OsString>,
}
