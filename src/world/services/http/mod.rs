//! `http_get`, `http_post` and `load_test`. Errors name secrets but never show their values.

pub(crate) mod clients;
mod load;
pub(crate) mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, Url};

use super::cancellation::unless_cancelled;
use super::error_text::{root_cause, truncate};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::base::vault::Vault;
use crate::effect::http::{HttpEffect, HttpOutcome, HttpReply, http_failed, http_refused, http_timed_out};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use clients::HttpClients;
use request::{header_map, invalid, parse_url, read_body, reveal_json, status_line};

/// Characters of an error response's body that the error shows.
const EXCERPT_LIMIT: usize = 2000;

/// Performs HTTP requests and load tests.
pub(crate) struct HttpService {
    clients: Arc<HttpClients>,
    clock: Arc<dyn Clock>,
}

/// What GET and POST requests have in common.
struct Request<'a> {
    method: Method,
    url: &'a Text,
    headers: &'a BTreeMap<String, Text>,
    timeout: Duration,
    check: bool,
}

/// A revealed body, and the content type that it implies.
type Body = (Option<&'static str>, String);

impl HttpService {
    pub(crate) fn new(clients: Arc<HttpClients>, clock: Arc<dyn Clock>) -> Self {
        Self { clients, clock }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &HttpEffect) -> Result<HttpOutcome, EffectError> {
        match effect {
            HttpEffect::Get(get) => {
                let request = Request {
                    method: Method::GET,
                    url: &get.url,
                    headers: &get.headers,
                    timeout: get.timeout.0,
                    check: get.check,
                };
                self.send(call, &request, |_| Ok(None)).await.map(HttpOutcome::Get)
            }
            HttpEffect::Post(post) => {
                let request = Request {
                    method: Method::POST,
                    url: &post.url,
                    headers: &post.headers,
                    timeout: post.timeout.0,
                    check: post.check,
                };
                post.validate()?;
                let body = |vault: &Vault| match (&post.body, &post.json) {
                    (Some(text), _) => Ok(Some((None, vault.reveal(text)?))),
                    (None, Some(value)) => Ok(Some((Some("application/json"), reveal_json(vault, value)?.to_string()))),
                    (None, None) => Ok(None),
                };
                self.send(call, &request, body).await.map(HttpOutcome::Post)
            }
            HttpEffect::Load(request) => load::load_test(call, request).await.map(HttpOutcome::Load),
        }
    }

    async fn send(
        &self,
        call: &Call,
        request: &Request<'_>,
        body: impl FnOnce(&Vault) -> Result<Option<Body>, EffectError>,
    ) -> Result<HttpReply, EffectError> {
        let url = parse_url(&call.vault, request.url)?;
        let mut headers = header_map(&call.vault, request.headers)?;
        let mut builder: RequestBuilder =
            self.clients.following()?.request(request.method.clone(), url.clone()).timeout(request.timeout);
        if let Some((content_type, body)) = body(&call.vault)? {
            if let Some(content_type) = content_type {
                headers.entry(reqwest::header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
            }
            builder = builder.body(body);
        }
        let builder = builder.headers(headers);
        let started = self.clock.steady_ms();
        let (mut reply, status) = unless_cancelled(call, async {
            let failed = |error: reqwest::Error| request_failed(request, &url, &error);
            let response = builder.send().await.map_err(failed)?;
            let status = status_line(&response);
            Ok((read_reply(response).await.map_err(failed)?, status))
        })
        .await?;
        reply.elapsed_ms = self.clock.steady_ms().saturating_sub(started);
        if request.check && reply.status >= 400 {
            let error = http_refused(request.method.as_str(), request.url, &status);
            return Err(error.detail(truncate(&reply.body, EXCERPT_LIMIT)));
        }
        Ok(reply)
    }
}

async fn read_reply(mut response: Response) -> Result<HttpReply, reqwest::Error> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.to_string());
    }
    let status = response.status().as_u16();
    let (bytes, truncated) = read_body(&mut response).await?;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    // Many small apps send JSON without the content type of JSON.
    let looks_like_json = headers.get("content-type").is_some_and(|kind| kind.contains("json"))
        || body.trim_start().starts_with(['{', '[']);
    let json = (looks_like_json && !truncated).then(|| serde_json::from_str(&body).ok()).flatten();
    Ok(HttpReply { status, headers, body, truncated, json, elapsed_ms: 0 })
}

fn request_failed(request: &Request<'_>, url: &Url, error: &reqwest::Error) -> EffectError {
    let method = request.method.as_str();
    let name = format!("`{method} {}`", request.url);
    // After a redirect, the first server has received the request already.
    let never_sent = error.is_connect() && error.url().is_none_or(|failed| failed == url);
    let effect_error = if error.is_redirect() {
        EffectError::new(ErrorKind::Failed, format!("{name} {}", root_cause(error)))
    } else if error.is_timeout() {
        http_timed_out(method, request.url, DurationText(request.timeout))
    } else if error.is_builder() {
        invalid(format!("{name} is not a valid request"))
    } else {
        http_failed(method, request.url, &root_cause(error))
    };
    if never_sent { effect_error.not_applied() } else { effect_error }
}
