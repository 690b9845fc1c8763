//! HTTP in the simulated world: who answers where. Knows nothing of why somebody asks.
//!
//! Faults: a refused connection, an unknown host, an answer that takes too long, an answer of 400 and above.

use std::collections::BTreeMap;

use super::behaviour::Page;
use super::container::SimContainer;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::http::{HttpEffect, HttpOutcome, HttpReply};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Who answers a request on a port of the host, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// None when a process outside the engine answers.
    pub container: Option<String>,
    pub image: Option<String>,
    pub page: Page,
}

/// Names of the host itself.
const HERE: [&str; 4] = ["localhost", "127.0.0.1", "::1", "0.0.0.0"];

/// A place that something can be asked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A port of the host.
    Port(u16),
    /// A port inside a container, by the container's name.
    Inside(String, u16),
    /// Somewhere else: the whole address.
    Away(String),
}

/// One answer and the time it took, or why there was none.
pub(super) type Asked = Result<(Page, u64), String>;

impl SimHost {
    /// Who would answer on a port of the host now.
    pub(super) fn answer(&self, port: u16, path: &str) -> Option<Answer> {
        self.answer_at(port, path, self.now())
    }

    /// Who answers at that instant, with everything as it is now.
    pub(super) fn answer_at(&self, port: u16, path: &str, at: u64) -> Option<Answer> {
        if let Some((container, inside)) = self.containers.publisher(port) {
            return container.answer(inside, path, at).map(|page| Answer {
                container: Some(container.name().to_owned()),
                image: Some(container.spec.image.clone()),
                page,
            });
        }
        if let Some(page) = self.machine.strangers.get(&port).cloned() {
            return Some(Answer { container: None, image: None, page });
        }
        self.routed(port, path, at)
    }

    /// The place that a URL means, and the path there.
    pub(super) fn place(&self, url: &str) -> Result<(Place, String), EffectError> {
        let wrong = |why: String| {
            EffectError::new(ErrorKind::Invalid, format!("that is not a URL: {why}"))
                .hint("write it like `http://127.0.0.1:8080/health`")
                .not_applied()
        };
        let parsed = reqwest::Url::parse(url).map_err(|why| wrong(why.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("`{}` is neither `http` nor `https`", parsed.scheme())));
        }
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = parsed.port_or_known_default().unwrap_or(80);
        Ok((self.place_at(host, port, url), parsed.path().to_owned()))
    }

    pub(super) fn place_at(&self, host: &str, port: u16, whole: &str) -> Place {
        if HERE.contains(&host) {
            return Place::Port(port);
        }
        let has_address = |container: &&SimContainer| self.addresses(container).values().any(|address| address == host);
        match self.containers.running().find(has_address) {
            Some(container) => Place::Inside(container.name().to_owned(), port),
            None => Place::Away(whole.to_owned()),
        }
    }

    /// Whether a connection opens. A published port takes connections as soon as the container runs:
    /// the engine's own proxy answers them before the app does.
    pub(super) fn accepts(&self, place: &Place) -> bool {
        match place {
            Place::Port(port) => {
                self.containers.publisher(*port).is_some()
                    || self.machine.strangers.contains_key(port)
                    || self.routed_port(*port).is_some()
            }
            Place::Inside(name, port) => {
                self.containers.get(name).is_some_and(|container| container.answer(*port, "/", self.now()).is_some())
            }
            Place::Away(address) => self.web.contains_key(address),
        }
    }

    /// Asks once, and lets the time pass that the answer takes.
    pub(super) fn ask(&mut self, place: &Place, path: &str, timeout: DurationText) -> Asked {
        let Some(page) = self.page(place, path) else {
            self.pass(1);
            return Err("connection refused".into());
        };
        let (takes, patience) = (page.takes_ms.max(1), whole_ms(timeout.0));
        self.pass(takes.min(patience));
        if takes > patience { Err(format!("no answer within {timeout}")) } else { Ok((page, takes)) }
    }

    /// What would be answered now.
    pub(super) fn page(&self, place: &Place, path: &str) -> Option<Page> {
        match place {
            Place::Port(port) => self.answer(*port, path).map(|answer| answer.page),
            Place::Inside(name, port) => {
                self.containers.get(name).and_then(|container| container.answer(*port, path, self.now()))
            }
            Place::Away(url) => self.web.get(url).cloned(),
        }
    }

    /// Takes in who answers outside the engine.
    pub(super) fn learn_page(&mut self, url: &str, page: Page) {
        match self.place(url) {
            Ok((place, _)) if self.accepts(&place) => {}
            Ok((Place::Port(port), _)) => drop(self.machine.strangers.insert(port, page)),
            Ok((Place::Away(url), _)) => drop(self.web.insert(url, page)),
            Ok((Place::Inside(..), _)) | Err(_) => {}
        }
    }

    pub(super) fn http(&mut self, call: &Call, effect: &HttpEffect) -> Result<HttpOutcome, EffectError> {
        Ok(match effect {
            HttpEffect::Get(request) => {
                reveal(call, &request.headers)?;
                HttpOutcome::Get(self.request(call, &request.url, request.timeout, request.check)?)
            }
            HttpEffect::Post(request) => {
                reveal(call, &request.headers)?;
                if let Some(body) = &request.body {
                    call.vault.reveal(body)?;
                }
                HttpOutcome::Post(self.request(call, &request.url, request.timeout, request.check)?)
            }
            HttpEffect::Load(request) => HttpOutcome::Load(self.load_test(call, request)?),
        })
    }

    fn request(
        &mut self,
        call: &Call,
        url: &Text,
        timeout: DurationText,
        check: bool,
    ) -> Result<HttpReply, EffectError> {
        let (place, path) = self.place(&call.vault.reveal(url)?)?;
        let (page, elapsed_ms) = self.ask(&place, &path, timeout).map_err(|why| {
            let refused = why == "connection refused";
            let kind = if refused { ErrorKind::Unavailable } else { ErrorKind::Timeout };
            let error = EffectError::new(kind, format!("`{url}` does not answer: {why}"));
            if refused { error.not_applied() } else { error }
        })?;
        let body = page.text();
        if check && page.status >= 400 {
            return Err(EffectError::new(ErrorKind::Failed, format!("`{url}` answered {}", page.status)).detail(body));
        }
        let json = page.json.clone().or_else(|| serde_json::from_str(&body).ok());
        let kind = if page.json.is_some() { "application/json" } else { "text/plain" };
        let headers = BTreeMap::from([("content-type".to_owned(), kind.to_owned())]);
        Ok(HttpReply { status: page.status, headers, body, truncated: false, json, elapsed_ms })
    }
}

pub(super) fn reveal(call: &Call, headers: &BTreeMap<String, Text>) -> Result<(), EffectError> {
    headers.values().try_for_each(|value| call.vault.reveal(value).map(drop))?;
    Ok(())
}
