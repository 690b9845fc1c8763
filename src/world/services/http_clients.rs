//! The HTTP clients, made when first needed: reading the machine's certificates takes a while.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use crate::effect::{EffectError, ErrorKind};

/// Redirects that a request follows.
pub(super) const REDIRECT_LIMIT: usize = 10;

/// One client for each way of asking. But for storage, none keeps connections open between requests: a kept
/// one would go on to reach the old server after a port changed hands.
#[derive(Default)]
pub(super) struct HttpClients {
    following: OnceLock<Result<Client, String>>,
    direct: OnceLock<Result<Client, String>>,
    probe: OnceLock<Result<Client, String>>,
    storage: OnceLock<Result<Client, String>>,
}

/// How long storage may take to take a connection, and how long it may say nothing.
const STORAGE_CONNECT: Duration = Duration::from_secs(5);
const STORAGE_SILENCE: Duration = Duration::from_secs(60);
/// Connections to storage that are kept: parts of one object travel side by side.
const STORAGE_KEPT: usize = 8;

impl HttpClients {
    /// Follows redirects; goes through the proxy that the environment names.
    pub(super) fn following(&self) -> Result<&Client, EffectError> {
        get(&self.following, |builder| builder.redirect(Policy::limited(REDIRECT_LIMIT)))
    }

    /// Follows no redirect: a POST would arrive as a GET.
    pub(super) fn direct(&self) -> Result<&Client, EffectError> {
        get(&self.direct, |builder| builder.redirect(Policy::none()))
    }

    /// Follows no redirect and uses no proxy: asks the server itself.
    pub(super) fn probe(&self) -> Result<&Client, EffectError> {
        get(&self.probe, |builder| builder.redirect(Policy::none()).no_proxy())
    }

    /// For load: made anew for each test, so that no connection outlives it. Follows no redirect and uses no proxy.
    pub(super) fn load(keep: bool, connections: usize, secure: bool) -> Result<Client, EffectError> {
        let kept = if keep { connections } else { 0 };
        build(|builder| {
            let builder = builder.redirect(Policy::none()).no_proxy().pool_max_idle_per_host(kept);
            // Without the certificates of the machine, which take a while to read.
            if secure { builder } else { builder.tls_certs_only([]) }
        })
        .map_err(|why| no_client(&why))
    }

    /// For object storage: keeps connections, gives up on a silent server.
    pub(super) fn storage(&self) -> Result<&Client, EffectError> {
        get(&self.storage, |builder| {
            builder
                .redirect(Policy::none())
                .pool_max_idle_per_host(STORAGE_KEPT)
                .connect_timeout(STORAGE_CONNECT)
                .read_timeout(STORAGE_SILENCE)
        })
    }
}

fn get(
    cell: &OnceLock<Result<Client, String>>,
    shape: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<&Client, EffectError> {
    cell.get_or_init(|| build(shape)).as_ref().map_err(|why| no_client(why))
}

fn build(shape: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, String> {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fresh = || shape(Client::builder().pool_max_idle_per_host(0).user_agent(USER_AGENT));
    // A machine without certificates can still ask over plain HTTP; HTTPS then fails where it is asked for.
    fresh().build().or_else(|_| fresh().tls_certs_only([]).build()).map_err(|error| super::reason::reason(&error))
}

fn no_client(why: &str) -> EffectError {
    EffectError::new(ErrorKind::Internal, format!("no HTTP client: {why}")).not_applied()
}

const USER_AGENT: &str = concat!("deployer/", env!("CARGO_PKG_VERSION"));
