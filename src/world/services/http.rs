//! `http_get` and `http_post`. Reveals secrets at the last moment and names them only in errors.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use super::Services;
use super::http_clients::REDIRECT_LIMIT;
use super::reason::{clip, reason};
use super::wait::unless_cancelled;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::base::vault::{MissingSecret, Vault};
use crate::effect::http::{BODY_LIMIT, HttpEffect, HttpOutcome, HttpReply};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Characters of a failed answer's body that the error shows.
const EVIDENCE: usize = 2000;

/// What both requests have in common.
struct Asked<'a> {
    method: Method,
    url: &'a Text,
    headers: &'a BTreeMap<String, Text>,
    timeout: Duration,
    check: bool,
}

impl Services {
    pub(super) async fn http(&self, call: &Call, effect: &HttpEffect) -> Result<HttpOutcome, EffectError> {
        match effect {
            HttpEffect::Get(request) => {
                let asked = Asked {
                    method: Method::GET,
                    url: &request.url,
                    headers: &request.headers,
                    timeout: request.timeout.0,
                    check: request.check,
                };
                self.ask(call, &asked, |_| Ok(None)).await.map(HttpOutcome::Get)
            }
            HttpEffect::Post(request) => {
                let asked = Asked {
                    method: Method::POST,
                    url: &request.url,
                    headers: &request.headers,
                    timeout: request.timeout.0,
                    check: request.check,
                };
                let body = |vault: &Vault| match (&request.body, &request.json) {
                    (Some(_), Some(_)) => Err(invalid("`body` and `json` cannot both be given")),
                    (Some(text), None) => Ok(Some((None, vault.reveal(text)?))),
                    (None, Some(value)) => Ok(Some((Some("application/json"), reveal_json(vault, value)?.to_string()))),
                    (None, None) => Ok(None),
                };
                self.ask(call, &asked, body).await.map(HttpOutcome::Post)
            }
            HttpEffect::Load(request) => self.load_test(call, request).await.map(HttpOutcome::Load),
        }
    }

    async fn ask(
        &self,
        call: &Call,
        asked: &Asked<'_>,
        body: impl FnOnce(&Vault) -> Result<Option<(Option<&'static str>, String)>, EffectError>,
    ) -> Result<HttpReply, EffectError> {
        let url = parse_url(&call.vault, asked.url)?;
        let mut headers = header_map(&call.vault, asked.headers)?;
        let mut request: RequestBuilder =
            self.clients.following()?.request(asked.method.clone(), url.clone()).timeout(asked.timeout);
        if let Some((content_type, body)) = body(&call.vault)? {
            if let Some(content_type) = content_type {
                headers.entry(reqwest::header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
            }
            request = request.body(body);
        }
        let request = request.headers(headers);
        let started = self.clock.steady_ms();
        let (mut reply, reason) = unless_cancelled(call, async {
            let failed = |error: reqwest::Error| failure(asked, &url, &error);
            let response = request.send().await.map_err(failed)?;
            let reason = status_line(&response);
            Ok((read(response).await.map_err(failed)?, reason))
        })
        .await?;
        reply.elapsed_ms = self.clock.steady_ms().saturating_sub(started);
        if asked.check && reply.status >= 400 {
            return Err(EffectError::new(
                ErrorKind::Failed,
                format!("`{} {}` was answered with {reason}", asked.method, asked.url),
            )
            .detail(clip(&reply.body, EVIDENCE)));
        }
        Ok(reply)
    }
}

fn invalid(message: impl Into<String>) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

/// The revealed text as an address that HTTP can be spoken to.
pub(super) fn parse_url(vault: &Vault, text: &Text) -> Result<Url, EffectError> {
    let url = Url::parse(&vault.reveal(text)?).map_err(|error| invalid(format!("`{text}` is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid(format!("`{text}` is not a URL that starts with `http://` or `https://`")));
    }
    Ok(url)
}

pub(super) fn header_map(vault: &Vault, headers: &BTreeMap<String, Text>) -> Result<HeaderMap, EffectError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, text) in headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name}` cannot be the name of a header")))?;
        let mut value = HeaderValue::from_str(&vault.reveal(text)?).map_err(|_| {
            invalid(format!("the value of header `{name}` has a line break or another control character"))
        })?;
        value.set_sensitive(text.secret_names().next().is_some());
        map.insert(key, value);
    }
    Ok(map)
}

/// A JSON value with the secrets in it filled in.
pub(super) fn reveal_json(vault: &Vault, value: &Value) -> Result<Value, MissingSecret> {
    Ok(match value {
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| reveal_json(vault, item)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => match secret_text(value) {
            Some(text) => Value::String(vault.reveal(&text)?),
            None => Value::Object(
                map.iter().map(|(key, item)| Ok((key.clone(), reveal_json(vault, item)?))).collect::<Result<_, _>>()?,
            ),
        },
        plain => plain.clone(),
    })
}

/// The secret text whose journal form this value is.
fn secret_text(value: &Value) -> Option<Text> {
    let has_one_key = value.as_object().is_some_and(|map| map.len() == 1);
    has_one_key.then(|| serde_json::from_value(value.clone()).ok()).flatten()
}

/// `404 Not Found`, or the bare number where it has no name.
pub(super) fn status_line(response: &Response) -> String {
    let status = response.status();
    status.canonical_reason().map_or_else(|| status.as_u16().to_string(), |name| format!("{} {name}", status.as_u16()))
}

/// At most [`BODY_LIMIT`] bytes of the body, and whether there were more.
pub(super) async fn read_body(response: &mut Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let limit = usize::try_from(BODY_LIMIT.0).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

async fn read(mut response: Response) -> Result<HttpReply, reqwest::Error> {
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
    // Many small apps send JSON without saying so.
    let looks_like_json = headers.get("content-type").is_some_and(|kind| kind.contains("json"))
        || body.trim_start().starts_with(['{', '[']);
    let json = (looks_like_json && !truncated).then(|| serde_json::from_str(&body).ok()).flatten();
    Ok(HttpReply { status, headers, body, truncated, json, elapsed_ms: 0 })
}

fn failure(asked: &Asked<'_>, url: &Url, error: &reqwest::Error) -> EffectError {
    let what = format!("`{} {}`", asked.method, asked.url);
    // After a redirect the first server has had the request already.
    let never_sent = error.is_connect() && error.url().is_none_or(|failed| failed == url);
    let effect_error = if error.is_redirect() {
        EffectError::new(ErrorKind::Failed, format!("{what} was redirected more than {REDIRECT_LIMIT} times"))
    } else if error.is_timeout() {
        let timeout = DurationText(asked.timeout);
        EffectError::new(ErrorKind::Timeout, format!("{what} had no complete answer within {timeout}"))
    } else if error.is_builder() {
        invalid(format!("{what} is not a request that can be sent"))
    } else {
        EffectError::new(ErrorKind::Unavailable, format!("{what} failed: {}", reason(error)))
    };
    if never_sent { effect_error.not_applied() } else { effect_error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_secrets_into_json() {
        let vault = Vault::new(|name| (name == "TOKEN").then(|| "hunter2".into()));
        let value = serde_json::json!({"a": [{"secret_text": ["Bearer ", {"secret": "TOKEN"}]}], "b": {"c": 1}});
        let revealed = reveal_json(&vault, &value).unwrap();
        assert_eq!(revealed, serde_json::json!({"a": ["Bearer hunter2"], "b": {"c": 1}}));
    }

    #[test]
    fn refuses_what_is_not_http() {
        for text in ["", "nonsense", "ftp://host/x", "http://", "file:///etc/passwd", "http://[::1", "unix:/x"] {
            let error = parse_url(&Vault::empty(), &Text::plain(text)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{text}: {error}");
        }
    }
}
