//! The HTTP clients, each created on first use: reading the machine's certificates takes a while.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, ClientBuilder, Url};

use crate::effect::{EffectError, ErrorKind};
use crate::world::services::error_text::root_cause;

/// Redirects that a request follows.
const REDIRECT_LIMIT: usize = 10;

/// One client for each kind of use.
///
/// Only the storage client keeps connections open between requests. With the others, a kept connection could still
/// reach the old server after a cutover.
#[derive(Default)]
pub(crate) struct HttpClients {
    following: OnceLock<Result<Client, String>>,
    direct: OnceLock<Result<Client, String>>,
    probe: OnceLock<Result<Client, String>>,
    storage: OnceLock<Result<Client, String>>,
}

/// How long storage may take to accept a connection, and how long it may send nothing.
const STORAGE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STORAGE_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections kept to storage: the parts of an object are sent in parallel.
const STORAGE_IDLE_CONNECTIONS: usize = 8;

impl HttpClients {
    /// Returns a client that follows redirects to the same server and uses the proxy of the environment. Headers and
    /// bodies may contain secrets, so another server must not receive them.
    pub(crate) fn following(&self) -> Result<&Client, EffectError> {
        get_or_build(&self.following, |builder| builder.redirect(Policy::custom(follow)).referer(false))
    }

    /// Returns a client that follows no redirect: a redirected POST would arrive as a GET.
    pub(crate) fn direct(&self) -> Result<&Client, EffectError> {
        get_or_build(&self.direct, |builder| builder.redirect(Policy::none()))
    }

    /// Returns a client that follows no redirect and uses no proxy: it asks the server itself.
    pub(crate) fn probe(&self) -> Result<&Client, EffectError> {
        get_or_build(&self.probe, |builder| builder.redirect(Policy::none()).no_proxy())
    }

    /// Creates a client for one load test, so that no connection outlives the test. It follows no redirect and uses no
    /// proxy.
    pub(crate) fn load(keep_alive: bool, connections: usize, is_https: bool) -> Result<Client, EffectError> {
        let idle = if keep_alive { connections } else { 0 };
        build(|builder| {
            let builder = builder.redirect(Policy::none()).no_proxy().pool_max_idle_per_host(idle);
            // Plain HTTP needs no certificates, which take a while to read.
            if is_https { builder } else { builder.tls_certs_only([]) }
        })
        .map_err(|why| no_client(&why))
    }

    /// Returns the client for object storage and log streams. It keeps connections and gives up on a silent server.
    pub(crate) fn storage(&self) -> Result<&Client, EffectError> {
        get_or_build(&self.storage, |builder| {
            builder
                .redirect(Policy::none())
                .pool_max_idle_per_host(STORAGE_IDLE_CONNECTIONS)
                .connect_timeout(STORAGE_CONNECT_TIMEOUT)
                .read_timeout(STORAGE_READ_TIMEOUT)
        })
    }
}

fn follow(attempt: Attempt<'_>) -> Action {
    let from = attempt.previous().first().map(Url::origin);
    let to = attempt.url().origin();
    if from.as_ref() != Some(&to) {
        let to = to.ascii_serialization();
        return attempt.error(format!("was redirected to another server, `{to}`, which is not followed"));
    }
    if attempt.previous().len() > REDIRECT_LIMIT {
        return attempt.error(format!("was redirected more than {REDIRECT_LIMIT} times"));
    }
    attempt.follow()
}

fn get_or_build(
    cell: &OnceLock<Result<Client, String>>,
    configure: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<&Client, EffectError> {
    cell.get_or_init(|| build(configure)).as_ref().map_err(|why| no_client(why))
}

fn build(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, String> {
    // Fails only if a provider is installed already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || configure(Client::builder().pool_max_idle_per_host(0).user_agent(USER_AGENT));
    // A machine without certificates can still use plain HTTP. HTTPS then fails at the request.
    builder().build().or_else(|_| builder().tls_certs_only([]).build()).map_err(|error| root_cause(&error))
}

fn no_client(why: &str) -> EffectError {
    EffectError::new(ErrorKind::Internal, format!("cannot create an HTTP client: {why}")).not_applied()
}

const USER_AGENT: &str = concat!("deployer/", env!("CARGO_PKG_VERSION"));
