//! One try of a health check: what is asked, and whether the answer counts. Does not wait and knows no deadline
//! but that of the try.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::LOCATION;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Services;
use super::http::{header_map, parse_url, read_body, status_line};
use super::reason::reason;
use crate::base::duration_text::DurationText;
use crate::effect::container::{Container, ContainerState};
use crate::effect::health::WaitHealthy;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What is asked of the one that should be healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// HTTP to `url`.
    Url,
    /// A connection to `tcp`.
    Tcp,
    /// HTTP to a port of the container.
    ContainerHttp,
    /// The container's own state or health check.
    ContainerState,
}

/// What one try brought.
pub(super) enum Answer {
    Healthy {
        status: Option<u16>,
    },
    /// In a few words, for people.
    NotYet {
        why: String,
        hint: Option<&'static str>,
    },
}

/// Where a server that only listens on its own loopback cannot be reached from outside its container.
const LISTEN_HINT: &str =
    "check that the app listens on `0.0.0.0` and not on `127.0.0.1`, and on the port that is asked";
const REDIRECT_HINT: &str = "a redirect is not followed: ask for the path that it names, or let `status` accept it";

impl Question {
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is not clear what to ask.
    pub(super) fn of(request: &WaitHealthy) -> Result<Self, EffectError> {
        let invalid = |message: &str| Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        let has_conditions = !request.status.is_empty()
            || request.body.is_some()
            || !request.json.is_empty()
            || !request.headers.is_empty();
        let wants_port = request.path.is_some() || request.port.is_some();
        let question = match (&request.url, &request.tcp, &request.container) {
            (Some(_), Some(_), _) => return invalid("`url` and `tcp` cannot both be asked"),
            (Some(_), None, _) => Self::Url,
            (None, Some(_), _) => Self::Tcp,
            (None, None, Some(_)) if wants_port => Self::ContainerHttp,
            (None, None, Some(_)) => Self::ContainerState,
            (None, None, None) => return invalid("one of `container`, `url` and `tcp` is needed"),
        };
        match question {
            Self::Url | Self::Tcp if wants_port => {
                invalid("`path` and `port` belong to a `container` that is asked itself, not to `url` or `tcp`")
            }
            Self::Tcp | Self::ContainerState if has_conditions => {
                invalid("`status`, `body`, `json` and `headers` need an HTTP answer: give `path` or `url`")
            }
            Self::Tcp | Self::Url | Self::ContainerHttp | Self::ContainerState => Ok(question),
        }
    }
}

fn not_yet(why: impl Into<String>) -> Answer {
    Answer::NotYet { why: why.into(), hint: None }
}

impl Services {
    /// One HTTP or TCP try.
    ///
    /// # Errors
    /// When trying again cannot help.
    pub(super) async fn try_once(
        &self,
        call: &Call,
        request: &WaitHealthy,
        question: Question,
    ) -> Result<Answer, EffectError> {
        match question {
            Question::Url => {
                let url = request.url.clone().unwrap_or_default();
                let url = parse_url(&call.vault, &url)?;
                self.try_http(call, request, url).await
            }
            Question::Tcp => Ok(self.try_tcp(request).await),
            Question::ContainerHttp => match self.endpoint_of(request).await? {
                Ok(address) => {
                    let path = request.path.as_deref().unwrap_or("/");
                    let slash = if path.starts_with('/') { "" } else { "/" };
                    let text = format!("http://{address}{slash}{path}");
                    let url = reqwest::Url::parse(&text).map_err(|error| {
                        EffectError::new(ErrorKind::Invalid, format!("`{path}` is not a path: {error}")).not_applied()
                    })?;
                    self.try_http(call, request, url).await
                }
                Err(why) => Ok(not_yet(why)),
            },
            Question::ContainerState => Ok(not_yet("no answer")),
        }
    }

    async fn endpoint_of(&self, request: &WaitHealthy) -> Result<Result<SocketAddr, String>, EffectError> {
        let Some(name) = &request.container else { return Ok(Err("no container".into())) };
        let passing = |error: EffectError| match error.kind {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Conflict => Ok(Err(error.message)),
            _ => Err(error),
        };
        let container: Container = match self.engine.look(name).await {
            Ok(Some(container)) if container.state == ContainerState::Running => container,
            Ok(Some(container)) => return Ok(Err(format!("the container is {}", state_name(container.state)))),
            Ok(None) => return Ok(Err("the container is gone".into())),
            Err(error) => return passing(error),
        };
        match self.engine.endpoint(&container, request.port).await {
            Ok(address) => Ok(Ok(address)),
            Err(error) => passing(error),
        }
    }

    async fn try_tcp(&self, request: &WaitHealthy) -> Answer {
        let address = request.tcp.as_deref().unwrap_or_default();
        tokio::select! {
            opened = TcpStream::connect(address) => match opened {
                Ok(_) => Answer::Healthy { status: None },
                Err(error) => not_yet(reason(&error)),
            },
            () = self.clock.sleep(request.request_timeout.0) => not_yet(no_answer(request.request_timeout.0)),
        }
    }

    async fn try_http(&self, call: &Call, request: &WaitHealthy, url: reqwest::Url) -> Result<Answer, EffectError> {
        let headers = header_map(&call.vault, &request.headers)?;
        let asked = self.clients.probe()?.get(url).headers(headers);
        let answer = tokio::select! {
            answer = judged(asked, request) => answer,
            () = self.clock.sleep(request.request_timeout.0) => Ok(not_yet(no_answer(request.request_timeout.0))),
        };
        Ok(answer.unwrap_or_else(|error| Answer::NotYet {
            why: reason(&error),
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

/// Whether the answer of one HTTP request counts.
async fn judged(asked: reqwest::RequestBuilder, request: &WaitHealthy) -> Result<Answer, reqwest::Error> {
    let mut response = asked.send().await?;
    let status = response.status();
    let accepted =
        if request.status.is_empty() { status.is_success() } else { request.status.contains(&status.as_u16()) };
    if !accepted {
        let line = status_line(&response);
        let location = response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
        return Ok(match location {
            Some(location) if status.is_redirection() => {
                Answer::NotYet { why: format!("{line} to `{location}`"), hint: Some(REDIRECT_HINT) }
            }
            _ => not_yet(line),
        });
    }
    if request.body.is_some() || !request.json.is_empty() {
        let (bytes, _) = read_body(&mut response).await?;
        if let Some(why) = lacks(request, &String::from_utf8_lossy(&bytes)) {
            return Ok(not_yet(why));
        }
    }
    Ok(Answer::Healthy { status: Some(status.as_u16()) })
}

/// What the body does not have of what it must have.
fn lacks(request: &WaitHealthy, body: &str) -> Option<String> {
    if let Some(text) = request.body.as_ref().filter(|text| !body.contains(text.as_str())) {
        return Some(format!("the body lacks `{text}`"));
    }
    if request.json.is_empty() {
        return None;
    }
    let Ok(value) = serde_json::from_str::<Value>(body) else { return Some("the body is not JSON".into()) };
    request.json.iter().find_map(|(field, wanted)| match reach(&value, field) {
        None => Some(format!("the body has no field `{field}`")),
        Some(found) if same(found, wanted) => None,
        Some(found) => {
            Some(format!("field `{field}` is {}, not {wanted}", super::reason::clip(&found.to_string(), 100)))
        }
    })
}

/// The field itself, else the nested one that its dots lead to; a number counts into a list.
fn reach<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).or_else(|| {
        field.split('.').try_fold(value, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
    })
}

/// Numbers are the same when their values are: a script's `1.0` is an app's `1`.
fn same(found: &Value, wanted: &Value) -> bool {
    found == wanted || matches!((found.as_f64(), wanted.as_f64()), (Some(found), Some(wanted)) if found == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: Value) -> WaitHealthy {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn knows_what_is_asked() {
        let question = |value| Question::of(&request(value));
        assert_eq!(question(json!({"url": "http://h"})).unwrap(), Question::Url);
        assert_eq!(question(json!({"tcp": "h:1"})).unwrap(), Question::Tcp);
        assert_eq!(question(json!({"container": "c", "path": "/x"})).unwrap(), Question::ContainerHttp);
        assert_eq!(question(json!({"container": "c", "port": 80})).unwrap(), Question::ContainerHttp);
        assert_eq!(question(json!({"container": "c"})).unwrap(), Question::ContainerState);
        for wrong in [
            json!({}),
            json!({"url": "http://h", "tcp": "h:1"}),
            json!({"url": "http://h", "path": "/x"}),
            json!({"container": "c", "status": [200]}),
            json!({"tcp": "h:1", "body": "x"}),
        ] {
            assert_eq!(question(wrong.clone()).unwrap_err().kind, ErrorKind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn says_what_a_body_lacks() {
        let asked = request(json!({"url": "http://h", "json": {"status": "ok", "db.rows": 1}}));
        let why = |body: &str| lacks(&asked, body);
        assert_eq!(why(r#"{"status":"ok","db":{"rows":1.0}}"#), None);
        assert_eq!(
            why(r#"{"status":"starting","db":{"rows":1}}"#).unwrap(),
            r#"field `status` is "starting", not "ok""#
        );
        assert_eq!(why(r#"{"status":"ok"}"#).unwrap(), "the body has no field `db.rows`");
        assert_eq!(why("ok").unwrap(), "the body is not JSON");
        let asked = request(json!({"url": "http://h", "body": "ready"}));
        assert_eq!(lacks(&asked, "no").unwrap(), "the body lacks `ready`");
    }
}
