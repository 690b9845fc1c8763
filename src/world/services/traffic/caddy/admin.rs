//! Caddy's admin API: reads the HTTP servers of its configuration, and replaces them if they have not changed meanwhile.
//! Knows no route.

use std::time::Duration;

use http_body_util::BodyExt;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value};

use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::services::cancellation::unless_cancelled;
use crate::world::services::error_text::{root_cause, truncate};

/// Timeout of one request. Caddy answers when a new configuration is in effect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most attempts of a request that only reads.
const READ_ATTEMPTS: usize = 3;
/// Largest configuration in bytes.
const CONFIG_LIMIT: usize = 16 * 1024 * 1024;
/// Characters of a response that an error shows.
const EXCERPT_LIMIT: usize = 2_000;

/// Path of the HTTP servers.
const SERVERS: &str = "config/apps/http/servers";

/// Caddy's admin API.
pub(super) struct AdminApi {
    pub url: String,
    pub client: Client,
}

/// The HTTP servers by name, and the ETag under which they were read.
pub(super) struct Servers {
    pub all: Map<String, Value>,
    /// Whether the configuration has an object of servers to replace.
    exists: bool,
    /// Value for `If-Match`.
    etag: Option<String>,
}

struct AdminResponse {
    status: StatusCode,
    etag: Option<String>,
    text: String,
}

impl AdminApi {
    /// Reads the servers.
    pub(super) async fn servers(&self, call: &Call) -> Result<Servers, EffectError> {
        let response = self.send(call, Method::GET, SERVERS, None, None).await?;
        if response.status.is_success() {
            let found: Option<Map<String, Value>> =
                serde_json::from_str(&response.text).map_err(|why| unexpected_response(&why))?;
            return Ok(Servers { exists: found.is_some(), all: found.unwrap_or_default(), etag: response.etag });
        }
        // Caddy has no such path while it serves no HTTP.
        let whole = self.send(call, Method::GET, "config/", None, None).await?;
        let config: Value = serde_json::from_str(&whole.text).map_err(|why| unexpected_response(&why))?;
        if !whole.status.is_success() || config.pointer("/apps/http/servers").is_some() {
            return Err(refused("return its configuration", &response));
        }
        Ok(Servers { all: Map::new(), exists: false, etag: whole.etag })
    }

    /// Replaces the servers. Returns false, and replaces nothing, if they have changed since they were read.
    pub(super) async fn replace(
        &self,
        call: &Call,
        read: &Servers,
        all: Map<String, Value>,
    ) -> Result<bool, EffectError> {
        let method = if read.exists { Method::PATCH } else { Method::PUT };
        let etag = read.etag.as_deref();
        let response = self.send(call, method, SERVERS, etag, Some(Value::Object(all).to_string())).await?;
        match response.status {
            status if status.is_success() => Ok(true),
            StatusCode::PRECONDITION_FAILED => Ok(false),
            // Caddy keeps the running configuration if it cannot load the new one.
            _ => Err(refused("accept the new configuration", &response).not_applied()),
        }
    }

    /// Returns the requests and streams in flight to an upstream; 0 if Caddy does not know it.
    pub(super) async fn in_flight(&self, call: &Call, address: &str) -> Result<u64, EffectError> {
        let upstreams = self.upstreams(call).await?;
        let matching = upstreams.iter().filter(|upstream| upstream["address"] == address);
        Ok(matching.filter_map(|upstream| upstream["num_requests"].as_u64()).sum())
    }

    /// Returns all upstreams.
    pub(super) async fn upstreams(&self, call: &Call) -> Result<Vec<Value>, EffectError> {
        let response = self.send(call, Method::GET, "reverse_proxy/upstreams", None, None).await?;
        if !response.status.is_success() {
            return Err(refused("return its upstreams", &response));
        }
        let found: Option<Vec<Value>> =
            serde_json::from_str(&response.text).map_err(|why| unexpected_response(&why))?;
        Ok(found.unwrap_or_default())
    }

    /// Sends a request, again if it only reads: Caddy restarts its admin API with each configuration, and drops requests
    /// at that moment.
    async fn send(
        &self,
        call: &Call,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<String>,
    ) -> Result<AdminResponse, EffectError> {
        let attempts = if method == Method::GET { READ_ATTEMPTS } else { 1 };
        let mut result = self.send_once(call, method.clone(), path, etag, body.clone()).await;
        for _ in 1..attempts {
            match &result {
                Err(error) if error.kind == ErrorKind::Unavailable => {}
                _ => break,
            }
            result = self.send_once(call, method.clone(), path, etag, body.clone()).await;
        }
        result
    }

    async fn send_once(
        &self,
        call: &Call,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: Option<String>,
    ) -> Result<AdminResponse, EffectError> {
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        let reads = method == Method::GET;
        let mut request = self.client.request(method, &url).timeout(REQUEST_TIMEOUT);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let exchange = async {
            let response = request.send().await.map_err(|error| self.unreachable(&error, reads))?;
            let (head, body) = http::Response::from(response).into_parts();
            let body = http_body_util::Limited::new(body, CONFIG_LIMIT).collect().await;
            let body = body.map_err(|error| self.unreachable(error.as_ref(), reads))?;
            // Caddy computes the ETag while it writes the body, so it is in a trailer.
            let etag = body.trailers().and_then(|trailers| trailers.get("etag")).or(head.headers.get("etag"));
            let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
            Ok(AdminResponse {
                status: head.status,
                etag,
                text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            })
        };
        unless_cancelled(call, exchange).await
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static), reads: bool) -> EffectError {
        let message = format!("cannot reach Caddy at {}: {}", self.url, root_cause(error));
        let error = EffectError::new(ErrorKind::Unavailable, message)
            .hint("check that it is running, and its `admin` address: systemctl status caddy");
        if reads { error.not_applied() } else { error }
    }
}

fn refused(what: &str, response: &AdminResponse) -> EffectError {
    let message = format!("Caddy did not {what}: it answered {}", response.status.as_u16());
    EffectError::new(ErrorKind::Failed, message).detail(truncate(&response.text, EXCERPT_LIMIT))
}

fn unexpected_response(why: &serde_json::Error) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("unexpected response of Caddy: {why}")).not_applied()
}
