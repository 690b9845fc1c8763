//! The proof that a change took effect: a request through the public address, answered by one who should.

use std::time::Duration;

use reqwest::Url;

use super::super::Services;
use super::super::reason::reason;
use super::super::wait::unless_cancelled;
use super::Known;
use super::driver::{PROBE_HEADER, Proof, TARGET_HEADER};
use crate::effect::traffic::{Route, RouteView};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// How long a driver may take until its change is seen from outside.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of one request. Longer than that, and nobody would call it served.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(25);

impl Services {
    /// Asks until one of those who should get requests has answered.
    pub(super) async fn prove(
        &self,
        call: &Call,
        known: &Known,
        before: &RouteView,
        after: &RouteView,
    ) -> Result<(), EffectError> {
        // A probe would be held too; the next change, or the release, is proved again by whoever goes on.
        if after.held.is_some() {
            return Ok(());
        }
        let url = public_url(&after.route, known.note.probe.as_deref())?;
        let service = &known.note.service;
        let end = self.clock.steady_ms() + u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        loop {
            let why = match self.ask_public(&url, &after.route).await {
                Ok(answered_by) => match self.right_one(call, known, before, answered_by).await? {
                    None => return Ok(()),
                    Some(why) => why,
                },
                Err(why) => why,
            };
            if self.clock.steady_ms() >= end {
                let message = format!("`{service}` does not answer at its public address {url} as it should: {why}");
                return Err(EffectError::new(ErrorKind::Unhealthy, message)
                    .hint("see who gets its requests: `traffic_show`, `deployer proxy status`"));
            }
            let pause = async {
                self.clock.sleep(PAUSE).await;
                Ok(())
            };
            unless_cancelled(call, pause).await?;
        }
    }

    /// Who answered, where the answer says so.
    async fn ask_public(&self, url: &Url, route: &Route) -> Result<Option<String>, String> {
        let client = self.clients.probe().map_err(|error| error.message)?;
        let mut request = client.get(url.clone()).timeout(REQUEST_TIMEOUT).header(PROBE_HEADER, "1");
        if let Some(host) = &route.host {
            request = request.header(reqwest::header::HOST, host);
        }
        let answer = request.send().await.map_err(|error| reason(&error))?;
        if answer.status().is_server_error() {
            return Err(format!("it answered {}", answer.status().as_u16()));
        }
        Ok(answer.headers().get(TARGET_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned))
    }

    /// Why it was not one of those who should get requests.
    async fn right_one(
        &self,
        call: &Call,
        known: &Known,
        before: &RouteView,
        answered_by: Option<String>,
    ) -> Result<Option<String>, EffectError> {
        let now = self.view(call, known).await?;
        let mut should = now.targets.iter().filter(|target| target.weight > 0);
        let right = match known.driver.proof() {
            Proof::Counts => should.any(|target| {
                let former = before.target(&target.name).and_then(|former| former.served).unwrap_or(0);
                // A driver that was started again counts from zero.
                target.served.is_some_and(|served| served > former || (served > 0 && served < former))
            }),
            Proof::Header => should.any(|target| answered_by.as_deref() == Some(target.address.as_str())),
        };
        if right {
            return Ok(None);
        }
        Ok(Some(match answered_by {
            Some(other) => format!("{other} answered"),
            None => "somebody else answered".into(),
        }))
    }
}

/// Where this machine reaches what listens at a public address.
pub(super) fn from_here(address: &str) -> String {
    address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1)
}

/// Where the public side is asked.
fn public_url(route: &Route, probe: Option<&str>) -> Result<Url, EffectError> {
    let text = match probe {
        Some(url) => url.to_owned(),
        None => {
            let here = from_here(&route.address);
            let path = route.check.path.as_deref().or(route.path_prefix.as_deref()).unwrap_or("/");
            format!("http://{here}{path}")
        }
    };
    Url::parse(&text).map_err(|why| {
        EffectError::new(ErrorKind::Invalid, format!("`{text}` cannot be asked: {why}"))
            .hint("give `probe` in `traffic_route`: a URL at which the service answers")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(address: &str, path: Option<&str>) -> Route {
        let check = serde_json::json!({ "path": path });
        serde_json::from_value(serde_json::json!({"service": "web", "address": address, "check": check})).unwrap()
    }

    #[test]
    fn asks_at_the_address_that_is_reached_from_here() {
        let asked = |address, path, probe| public_url(&route(address, path), probe).unwrap().to_string();
        assert_eq!(asked("0.0.0.0:80", None, None), "http://127.0.0.1/");
        assert_eq!(asked("[::]:8080", Some("/health"), None), "http://[::1]:8080/health");
        assert_eq!(asked("10.0.0.7:8080", None, None), "http://10.0.0.7:8080/");
        assert_eq!(asked("0.0.0.0:443", None, Some("https://web.test/")), "https://web.test/");
        assert_eq!(public_url(&route("0.0.0.0:80", None), Some("web")).unwrap_err().kind, ErrorKind::Invalid);
    }
}
