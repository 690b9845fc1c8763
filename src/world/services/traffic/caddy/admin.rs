//! Caddy's admin API: reads and replaces the HTTP servers of its configuration, unless somebody changed them meanwhile.
//! Knows no route.

use std::time::Duration;

use http_body_util::BodyExt;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value};

use super::super::super::reason::{clip, reason};
use super::super::super::wait::unless_cancelled;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Of one request: a new configuration is in force when it is answered.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a question is asked that gets no answer.
const READ_TRIES: usize = 3;
/// Bytes of a configuration.
const CONFIG_LIMIT: usize = 16 * 1024 * 1024;
/// Characters that an error shows of an answer.
const EVIDENCE: usize = 2_000;

const SERVERS: &str = "config/apps/http/servers";

pub(super) struct Admin {
    pub url: String,
    pub client: Client,
}

/// The HTTP servers by name, and the mark of what was read.
pub(super) struct Servers {
    pub all: Map<String, Value>,
    /// There was an object to be replaced.
    is_there: bool,
    /// What `If-Match` is to say.
    mark: Option<String>,
}

struct Reply {
    status: StatusCode,
    mark: Option<String>,
    text: String,
}

impl Admin {
    pub(super) async fn servers(&self, call: &Call) -> Result<Servers, EffectError> {
        let reply = self.ask(call, Method::GET, SERVERS, None, None).await?;
        if reply.status.is_success() {
            let found: Option<Map<String, Value>> = serde_json::from_str(&reply.text).map_err(|why| odd(&why))?;
            return Ok(Servers { is_there: found.is_some(), all: found.unwrap_or_default(), mark: reply.mark });
        }
        // Caddy cannot walk a path that is not there: nothing serves HTTP yet.
        let whole = self.ask(call, Method::GET, "config/", None, None).await?;
        let config: Value = serde_json::from_str(&whole.text).map_err(|why| odd(&why))?;
        if !whole.status.is_success() || config.pointer("/apps/http/servers").is_some() {
            return Err(refused("tell its configuration", &reply));
        }
        Ok(Servers { all: Map::new(), is_there: false, mark: whole.mark })
    }

    /// False when somebody changed them since they were read: nothing was replaced then.
    pub(super) async fn replace(
        &self,
        call: &Call,
        read: &Servers,
        all: Map<String, Value>,
    ) -> Result<bool, EffectError> {
        let method = if read.is_there { Method::PATCH } else { Method::PUT };
        let mark = read.mark.as_deref();
        let reply = self.ask(call, method, SERVERS, mark, Some(Value::Object(all).to_string())).await?;
        match reply.status {
            status if status.is_success() => Ok(true),
            StatusCode::PRECONDITION_FAILED => Ok(false),
            // The running configuration stays when Caddy cannot load the new one.
            _ => Err(refused("take the new configuration", &reply).not_applied()),
        }
    }

    /// Requests and streams that an upstream has not ended; 0 for one that Caddy does not know.
    pub(super) async fn in_flight(&self, call: &Call, address: &str) -> Result<u64, EffectError> {
        let upstreams = self.upstreams(call).await?;
        let own = upstreams.iter().filter(|upstream| upstream["address"] == address);
        Ok(own.filter_map(|upstream| upstream["num_requests"].as_u64()).sum())
    }

    pub(super) async fn upstreams(&self, call: &Call) -> Result<Vec<Value>, EffectError> {
        let reply = self.ask(call, Method::GET, "reverse_proxy/upstreams", None, None).await?;
        if !reply.status.is_success() {
            return Err(refused("tell its upstreams", &reply));
        }
        let found: Option<Vec<Value>> = serde_json::from_str(&reply.text).map_err(|why| odd(&why))?;
        Ok(found.unwrap_or_default())
    }

    /// What only reads is asked again: Caddy's admin API begins anew with each configuration, and drops who comes in
    /// that moment.
    async fn ask(
        &self,
        call: &Call,
        method: Method,
        path: &str,
        mark: Option<&str>,
        body: Option<String>,
    ) -> Result<Reply, EffectError> {
        let tries = if method == Method::GET { READ_TRIES } else { 1 };
        let mut asked = self.ask_once(call, method.clone(), path, mark, body.clone()).await;
        for _ in 1..tries {
            match &asked {
                Err(error) if error.kind == ErrorKind::Unavailable => {}
                _ => break,
            }
            asked = self.ask_once(call, method.clone(), path, mark, body.clone()).await;
        }
        asked
    }

    async fn ask_once(
        &self,
        call: &Call,
        method: Method,
        path: &str,
        mark: Option<&str>,
        body: Option<String>,
    ) -> Result<Reply, EffectError> {
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        let reads = method == Method::GET;
        let mut request = self.client.request(method, &url).timeout(TIMEOUT);
        if let Some(mark) = mark {
            request = request.header("if-match", mark);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let conversation = async {
            let answer = request.send().await.map_err(|error| self.silent(&error, reads))?;
            let (head, body) = http::Response::from(answer).into_parts();
            let body = http_body_util::Limited::new(body, CONFIG_LIMIT).collect().await;
            let body = body.map_err(|error| self.silent(error.as_ref(), reads))?;
            // Caddy knows the mark when the answer is written, so that it comes behind it.
            let mark = body.trailers().and_then(|trailers| trailers.get("etag")).or(head.headers.get("etag"));
            let mark = mark.and_then(|mark| mark.to_str().ok()).map(str::to_owned);
            Ok(Reply { status: head.status, mark, text: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
        };
        unless_cancelled(call, conversation).await
    }

    fn silent(&self, error: &(dyn std::error::Error + 'static), reads: bool) -> EffectError {
        let message = format!("no Caddy answers at {}: {}", self.url, reason(error));
        let error = EffectError::new(ErrorKind::Unavailable, message)
            .hint("see whether it runs, and what its `admin` address is: systemctl status caddy");
        if reads { error.not_applied() } else { error }
    }
}

fn refused(what: &str, reply: &Reply) -> EffectError {
    let message = format!("Caddy did not {what}: it answered {}", reply.status.as_u16());
    EffectError::new(ErrorKind::Failed, message).detail(clip(&reply.text, EVIDENCE))
}

fn odd(why: &serde_json::Error) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("Caddy's answer is not understood: {why}")).not_applied()
}
