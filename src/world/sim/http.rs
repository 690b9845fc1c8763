//! HTTP in the simulated world: what responds where. Knows nothing of why a request is made.
//!
//! Faults: a refused connection, an unknown host, a response that takes too long, a status of 400 or above.

use std::collections::BTreeMap;

use super::model::behaviour::SimResponse;
use super::model::container::SimContainer;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::EffectError;
use crate::effect::http::{
    HttpEffect, HttpOutcome, HttpReply, http_failed, http_refused, http_timed_out, url_not_http, url_not_valid,
};
use crate::world::Call;

/// A response, and what served it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedResponse {
    /// The container, or `None` for a process outside the engine.
    pub container: Option<String>,
    /// The container's image.
    pub image: Option<String>,
    /// The response.
    pub response: SimResponse,
}

/// Why nothing responded, if no program listens.
const CONNECTION_REFUSED: &str = "connection refused";

/// Names of the host itself.
const HERE: [&str; 4] = ["localhost", "127.0.0.1", "::1", "0.0.0.0"];

/// Where a request can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A port of the host.
    Port(u16),
    /// A port inside the named container.
    Container(String, u16),
    /// Another host, with the full address.
    Remote(String),
}

/// The response and the time it took, or why there was none.
pub(super) type RequestResult = Result<(SimResponse, u64), String>;

impl SimHost {
    /// Returns the response on a host port now.
    pub(super) fn response_on_port(&self, port: u16, path: &str) -> Option<ServedResponse> {
        self.response_on_port_at(port, path, self.now())
    }

    /// Returns the response on a host port at the given time, if nothing else changes until then.
    pub(super) fn response_on_port_at(&self, port: u16, path: &str, at: u64) -> Option<ServedResponse> {
        if let Some((container, inside)) = self.containers.publisher(port) {
            return container.respond(inside, path, at).map(|response| ServedResponse {
                container: Some(container.name().to_owned()),
                image: Some(container.spec.image.clone()),
                response,
            });
        }
        if let Some(response) = self.machine.foreign_listeners.get(&port).cloned() {
            return Some(ServedResponse { container: None, image: None, response });
        }
        self.route_response(port, path, at)
    }

    /// Reveals a URL, and returns its endpoint and path.
    pub(super) fn endpoint_of(&self, call: &Call, url: &Text) -> Result<(Endpoint, String), EffectError> {
        self.parse_url(&call.vault.reveal(url)?, url)
    }

    /// Returns the endpoint of a URL, and the path. Errors show the URL as `shown`.
    pub(super) fn parse_url(&self, url: &str, shown: &Text) -> Result<(Endpoint, String), EffectError> {
        let parsed = reqwest::Url::parse(url).map_err(|why| url_not_valid(shown, &why))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(url_not_http(shown));
        }
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = parsed.port_or_known_default().unwrap_or(80);
        Ok((self.endpoint_at(host, port, url), parsed.path().to_owned()))
    }

    pub(super) fn endpoint_at(&self, host: &str, port: u16, whole: &str) -> Endpoint {
        if HERE.contains(&host) {
            return Endpoint::Port(port);
        }
        let has_address = |container: &&SimContainer| self.addresses(container).values().any(|address| address == host);
        match self.containers.running().find(has_address) {
            Some(container) => Endpoint::Container(container.name().to_owned(), port),
            None => Endpoint::Remote(whole.to_owned()),
        }
    }

    /// Returns whether a connection is accepted. A published port accepts connections as soon as the container runs,
    /// because the engine's own proxy answers before the app does.
    pub(super) fn accepts(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Port(port) => {
                self.containers.publisher(*port).is_some()
                    || self.machine.foreign_listeners.contains_key(port)
                    || self.service_on_port(*port).is_some()
            }
            Endpoint::Container(name, port) => {
                self.containers.get(name).is_some_and(|container| container.respond(*port, "/", self.now()).is_some())
            }
            Endpoint::Remote(address) => self.remote_responses.contains_key(address),
        }
    }

    /// Sends one request and advances the clock by the response time.
    pub(super) fn ask(&mut self, endpoint: &Endpoint, path: &str, timeout: DurationText) -> RequestResult {
        let Some(response) = self.response(endpoint, path) else {
            self.advance(1);
            return Err(CONNECTION_REFUSED.into());
        };
        let (takes, timeout_ms) = (response.takes_ms.max(1), whole_ms(timeout.0));
        self.advance(takes.min(timeout_ms));
        if takes > timeout_ms { Err(format!("no answer within {timeout}")) } else { Ok((response, takes)) }
    }

    /// Returns the response that a request would get now.
    pub(super) fn response(&self, endpoint: &Endpoint, path: &str) -> Option<SimResponse> {
        match endpoint {
            Endpoint::Port(port) => self.response_on_port(*port, path).map(|answer| answer.response),
            Endpoint::Container(name, port) => {
                self.containers.get(name).and_then(|container| container.respond(*port, path, self.now()))
            }
            Endpoint::Remote(url) => self.remote_responses.get(url).cloned(),
        }
    }

    /// Adds a response of a process outside the engine, unless something responds already.
    pub(super) fn add_response(&mut self, url: &str, response: SimResponse) {
        match self.parse_url(url, &url.into()) {
            Ok((endpoint, _)) if self.accepts(&endpoint) => {}
            Ok((Endpoint::Port(port), _)) => drop(self.machine.foreign_listeners.insert(port, response)),
            Ok((Endpoint::Remote(url), _)) => drop(self.remote_responses.insert(url, response)),
            Ok((Endpoint::Container(..), _)) | Err(_) => {}
        }
    }

    pub(super) fn http(&mut self, call: &Call, effect: &HttpEffect) -> Result<HttpOutcome, EffectError> {
        Ok(match effect {
            HttpEffect::Get(request) => {
                reveal(call, &request.headers)?;
                HttpOutcome::Get(self.request(call, "GET", &request.url, request.timeout, request.check)?)
            }
            HttpEffect::Post(request) => {
                request.validate()?;
                reveal(call, &request.headers)?;
                if let Some(body) = &request.body {
                    call.vault.reveal(body)?;
                }
                HttpOutcome::Post(self.request(call, "POST", &request.url, request.timeout, request.check)?)
            }
            HttpEffect::Load(request) => HttpOutcome::Load(self.load_test(call, request)?),
        })
    }

    fn request(
        &mut self,
        call: &Call,
        method: &str,
        url: &Text,
        timeout: DurationText,
        check: bool,
    ) -> Result<HttpReply, EffectError> {
        let (endpoint, path) = self.endpoint_of(call, url)?;
        let (response, elapsed_ms) = self.ask(&endpoint, &path, timeout).map_err(|why| match why.as_str() {
            CONNECTION_REFUSED => http_failed(method, url, &why).not_applied(),
            _ => http_timed_out(method, url, timeout),
        })?;
        let body = response.text();
        if check && response.status >= 400 {
            return Err(http_refused(method, url, &response.status).detail(body));
        }
        let json = response.json.clone().or_else(|| serde_json::from_str(&body).ok());
        let kind = if response.json.is_some() { "application/json" } else { "text/plain" };
        let headers = BTreeMap::from([("content-type".to_owned(), kind.to_owned())]);
        Ok(HttpReply { status: response.status, headers, body, truncated: false, json, elapsed_ms })
    }
}

pub(super) fn reveal(call: &Call, headers: &BTreeMap<String, Text>) -> Result<(), EffectError> {
    headers.values().try_for_each(|value| call.vault.reveal(value).map(drop))?;
    Ok(())
}
