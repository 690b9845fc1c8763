//! One attempt of a health check. Does not wait and knows no deadline but that of the attempt.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::LOCATION;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::base::duration_text::DurationText;
use crate::effect::container::{Container, ContainerState};
use crate::effect::health::{ProbeKind, WaitHealthy};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::Engine;
use crate::world::services::error_text::{root_cause, truncate};
use crate::world::services::http::clients::HttpClients;
use crate::world::services::http::request::{header_map, parse_url, read_body, status_line};

/// The result of one attempt.
pub(super) enum ProbeResult {
    Healthy { status: Option<u16> },
    Unhealthy { why: String, hint: Option<&'static str> },
}

/// For a server that listens only on the loopback interface of its container, which nothing outside can reach.
const LISTEN_HINT: &str = "check that the app listens on `0.0.0.0`, not on `127.0.0.1`, and on the requested port";
const REDIRECT_HINT: &str = "redirects are not followed: check the path it redirects to, or accept it with `status`";
/// Characters of a JSON value that a message shows.
const VALUE_LIMIT: usize = 100;

fn unhealthy(why: impl Into<String>) -> ProbeResult {
    ProbeResult::Unhealthy { why: why.into(), hint: None }
}

/// Sends HTTP and TCP probes.
pub(super) struct Prober {
    engine: Arc<dyn Engine>,
    clients: Arc<HttpClients>,
    clock: Arc<dyn Clock>,
}

impl Prober {
    pub(super) fn new(engine: Arc<dyn Engine>, clients: Arc<HttpClients>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, clients, clock }
    }

    /// Makes one HTTP or TCP attempt.
    ///
    /// # Errors
    /// Only where another attempt cannot help.
    pub(super) async fn probe(
        &self,
        call: &Call,
        request: &WaitHealthy,
        kind: ProbeKind,
    ) -> Result<ProbeResult, EffectError> {
        match kind {
            ProbeKind::Url => {
                let url = request.url.clone().unwrap_or_default();
                let url = parse_url(&call.vault, &url)?;
                self.probe_http(call, request, url).await
            }
            ProbeKind::Tcp => Ok(self.probe_tcp(request).await),
            ProbeKind::ContainerHttp => match self.container_endpoint(request).await? {
                Ok(address) => {
                    let path = request.path.as_deref().unwrap_or("/");
                    let slash = if path.starts_with('/') { "" } else { "/" };
                    let text = format!("http://{address}{slash}{path}");
                    let url = reqwest::Url::parse(&text).map_err(|error| {
                        EffectError::new(ErrorKind::Invalid, format!("`{path}` is not a valid path: {error}"))
                            .not_applied()
                    })?;
                    self.probe_http(call, request, url).await
                }
                Err(why) => Ok(unhealthy(why)),
            },
            ProbeKind::ContainerState => Ok(unhealthy("no answer")),
        }
    }

    /// Returns the address of the container, or why it has none at the moment.
    async fn container_endpoint(&self, request: &WaitHealthy) -> Result<Result<SocketAddr, String>, EffectError> {
        let Some(name) = &request.container else { return Ok(Err("no container".into())) };
        let transient = |error: EffectError| match error.kind {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Conflict => Ok(Err(error.message)),
            _ => Err(error),
        };
        let container: Container = match self.engine.find_container(name).await {
            Ok(Some(container)) if container.state == ContainerState::Running => container,
            Ok(Some(container)) => return Ok(Err(format!("the container is {}", state_name(container.state)))),
            Ok(None) => return Ok(Err("the container was removed".into())),
            Err(error) => return transient(error),
        };
        match self.engine.endpoint(&container, request.port).await {
            Ok(address) => Ok(Ok(address)),
            Err(error) => transient(error),
        }
    }

    async fn probe_tcp(&self, request: &WaitHealthy) -> ProbeResult {
        let address = request.tcp.as_deref().unwrap_or_default();
        tokio::select! {
            connected = TcpStream::connect(address) => match connected {
                Ok(_) => ProbeResult::Healthy { status: None },
                Err(error) => unhealthy(root_cause(&error)),
            },
            () = self.clock.sleep(request.request_timeout.0) => unhealthy(no_answer(request.request_timeout.0)),
        }
    }

    async fn probe_http(
        &self,
        call: &Call,
        request: &WaitHealthy,
        url: reqwest::Url,
    ) -> Result<ProbeResult, EffectError> {
        let headers = header_map(&call.vault, &request.headers)?;
        let builder = self.clients.probe()?.get(url).headers(headers);
        let result = tokio::select! {
            result = send_and_check(builder, request) => result,
            () = self.clock.sleep(request.request_timeout.0) => Ok(unhealthy(no_answer(request.request_timeout.0))),
        };
        Ok(result.unwrap_or_else(|error| ProbeResult::Unhealthy {
            why: root_cause(&error),
            hint: request.container.is_some().then_some(LISTEN_HINT),
        }))
    }
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer within {}", DurationText(timeout))
}

pub(super) fn state_name(state: ContainerState) -> String {
    format!("{state:?}").to_lowercase()
}

/// Sends the request, and checks status and body of the response.
async fn send_and_check(
    builder: reqwest::RequestBuilder,
    request: &WaitHealthy,
) -> Result<ProbeResult, reqwest::Error> {
    let mut response = builder.send().await?;
    let status = response.status();
    let accepted =
        if request.status.is_empty() { status.is_success() } else { request.status.contains(&status.as_u16()) };
    if !accepted {
        let line = status_line(&response);
        let location = response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
        return Ok(match location {
            Some(location) if status.is_redirection() => {
                ProbeResult::Unhealthy { why: format!("{line} to `{location}`"), hint: Some(REDIRECT_HINT) }
            }
            _ => unhealthy(line),
        });
    }
    if request.body.is_some() || !request.json.is_empty() {
        let (bytes, _) = read_body(&mut response).await?;
        if let Some(why) = missing_in_body(request, &String::from_utf8_lossy(&bytes)) {
            return Ok(unhealthy(why));
        }
    }
    Ok(ProbeResult::Healthy { status: Some(status.as_u16()) })
}

/// Returns the first condition of `body` and `json` that the body does not meet.
fn missing_in_body(request: &WaitHealthy, body: &str) -> Option<String> {
    if let Some(text) = request.body.as_ref().filter(|text| !body.contains(text.as_str())) {
        return Some(format!("the body does not contain `{text}`"));
    }
    if request.json.is_empty() {
        return None;
    }
    let Ok(value) = serde_json::from_str::<Value>(body) else { return Some("the body is not JSON".into()) };
    request.json.iter().find_map(|(field, expected)| match field_value(&value, field) {
        None => Some(format!("the body has no field `{field}`")),
        Some(actual) if is_equal(actual, expected) => None,
        Some(actual) => {
            Some(format!("field `{field}` is {}, not {expected}", truncate(&actual.to_string(), VALUE_LIMIT)))
        }
    })
}

/// Returns the field of this name, or else the nested value that its dots lead to. A number is an index into a list.
fn field_value<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).or_else(|| {
        field.split('.').try_fold(value, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
    })
}

/// Compares numbers by value: the `1.0` of a script equals the `1` of an app.
fn is_equal(actual: &Value, expected: &Value) -> bool {
    actual == expected
        || matches!((actual.as_f64(), expected.as_f64()), (Some(actual), Some(expected)) if actual == expected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: Value) -> WaitHealthy {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn chooses_the_probe_by_the_request() {
        let kind = |value| request(value).probe_kind();
        assert_eq!(kind(json!({"url": "http://h"})).unwrap(), ProbeKind::Url);
        assert_eq!(kind(json!({"tcp": "h:1"})).unwrap(), ProbeKind::Tcp);
        assert_eq!(kind(json!({"container": "c", "path": "/x"})).unwrap(), ProbeKind::ContainerHttp);
        assert_eq!(kind(json!({"container": "c", "port": 80})).unwrap(), ProbeKind::ContainerHttp);
        assert_eq!(kind(json!({"container": "c"})).unwrap(), ProbeKind::ContainerState);
        for wrong in [
            json!({}),
            json!({"url": "http://h", "tcp": "h:1"}),
            json!({"url": "http://h", "path": "/x"}),
            json!({"container": "c", "status": [200]}),
            json!({"tcp": "h:1", "body": "x"}),
        ] {
            assert_eq!(kind(wrong.clone()).unwrap_err().kind, ErrorKind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn names_what_a_body_is_missing() {
        let wanted = request(json!({"url": "http://h", "json": {"status": "ok", "db.rows": 1}}));
        let why = |body: &str| missing_in_body(&wanted, body);
        assert_eq!(why(r#"{"status":"ok","db":{"rows":1.0}}"#), None);
        assert_eq!(
            why(r#"{"status":"starting","db":{"rows":1}}"#).unwrap(),
            r#"field `status` is "starting", not "ok""#
        );
        assert_eq!(why(r#"{"status":"ok"}"#).unwrap(), "the body has no field `db.rows`");
        assert_eq!(why("ok").unwrap(), "the body is not JSON");
        let wanted = request(json!({"url": "http://h", "body": "ready"}));
        assert_eq!(missing_in_body(&wanted, "no").unwrap(), "the body does not contain `ready`");
    }
}
