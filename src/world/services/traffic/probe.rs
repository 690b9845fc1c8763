//! Proves that a change took effect: sends a request through the public address, which a target with weight must answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::driver::{PROBE_HEADER, ProbeProof, TARGET_HEADER};
use super::route_handle::RouteHandle;
use crate::effect::traffic::{RELEASE_WAIT, Route, RouteView, public_address_failed};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::cancellation::unless_cancelled;
use crate::world::services::error_text::root_cause;
use crate::world::services::http::clients::HttpClients;

/// How long a driver may take until its change is visible from outside.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(25);

/// Sends requests through public addresses.
pub(super) struct PublicProbe {
    clients: Arc<HttpClients>,
    clock: Arc<dyn Clock>,
}

impl PublicProbe {
    pub(super) fn new(clients: Arc<HttpClients>, clock: Arc<dyn Clock>) -> Self {
        Self { clients, clock }
    }

    /// Probes until a target with weight has answered.
    pub(super) async fn verify(
        &self,
        call: &Call,
        handle: &RouteHandle,
        before: &RouteView,
        after: &RouteView,
    ) -> Result<(), EffectError> {
        // A probe would be held, too. The next change after the release is probed again.
        if after.held.is_some() {
            return Ok(());
        }
        let url = public_url(&after.route, handle.record.probe.as_deref())?;
        let service = &handle.record.service;
        let end = self.clock.steady_ms() + u64::try_from(PROBE_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        loop {
            let why = match self.send_probe(&url, &after.route).await {
                Ok(answered_by) => match wrong_target(call, handle, before, answered_by).await? {
                    None => return Ok(()),
                    Some(why) => why,
                },
                Err(why) => why,
            };
            if self.clock.steady_ms() >= end {
                return Err(public_address_failed(service, &url, &why));
            }
            let pause = async {
                self.clock.sleep(PAUSE).await;
                Ok(())
            };
            unless_cancelled(call, pause).await?;
        }
    }

    /// Waits until a target with weight answers its check, for at most [`RELEASE_WAIT`]: after that, waiting longer only
    /// turns more requests away.
    pub(super) async fn until_a_target_answers(&self, call: &Call, view: &RouteView) -> Result<(), EffectError> {
        let end = self.clock.steady_ms() + u64::try_from(RELEASE_WAIT.as_millis()).unwrap_or(u64::MAX);
        while self.clock.steady_ms() < end {
            for target in view.targets.iter().filter(|target| target.weight > 0) {
                if self.answers(&target.address, &view.route).await {
                    return Ok(());
                }
            }
            let pause = async {
                self.clock.sleep(PAUSE).await;
                Ok(())
            };
            unless_cancelled(call, pause).await?;
        }
        Ok(())
    }

    /// Checks a target once, as its driver does.
    async fn answers(&self, address: &str, route: &Route) -> bool {
        let timeout = route.check.timeout.0;
        let Some(path) = &route.check.path else {
            let connected = tokio::time::timeout(timeout, tokio::net::TcpStream::connect(address)).await;
            return connected.is_ok_and(|connection| connection.is_ok());
        };
        let Ok(client) = self.clients.probe() else { return false };
        let mut request = client.get(format!("http://{address}{path}")).timeout(timeout);
        if let Some(host) = &route.host {
            request = request.header(reqwest::header::HOST, host);
        }
        request.send().await.is_ok_and(|response| response.status().as_u16() < 400)
    }

    /// Sends one request. Returns the target that the response names, if it names one.
    async fn send_probe(&self, url: &Url, route: &Route) -> Result<Option<String>, String> {
        let client = self.clients.probe().map_err(|error| error.message)?;
        let mut request = client.get(url.clone()).timeout(REQUEST_TIMEOUT).header(PROBE_HEADER, "1");
        if let Some(host) = &route.host {
            request = request.header(reqwest::header::HOST, host);
        }
        let response = request.send().await.map_err(|error| root_cause(&error))?;
        if response.status().is_server_error() {
            return Err(format!("it answered {}", response.status().as_u16()));
        }
        Ok(response.headers().get(TARGET_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned))
    }
}

/// Returns `None` if a target with weight has answered, or else which one did.
async fn wrong_target(
    call: &Call,
    handle: &RouteHandle,
    before: &RouteView,
    answered_by: Option<String>,
) -> Result<Option<String>, EffectError> {
    let now = handle.view(call).await?;
    let mut live = now.targets.iter().filter(|target| target.weight > 0);
    let is_right = match handle.driver.proof() {
        ProbeProof::Counts => live.any(|target| {
            let previous = before.target(&target.name).and_then(|target| target.served).unwrap_or(0);
            // A driver that was restarted counts from zero.
            target.served.is_some_and(|served| served > previous || (served > 0 && served < previous))
        }),
        ProbeProof::Header => live.any(|target| answered_by.as_deref() == Some(target.address.as_str())),
    };
    if is_right {
        return Ok(None);
    }
    Ok(Some(match answered_by {
        Some(address) => format!("{address} answered"),
        None => "another server answered".into(),
    }))
}

/// Returns the address at which this machine reaches a public address.
pub(super) fn local_address(address: &str) -> String {
    address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1)
}

/// Returns the URL that is probed.
fn public_url(route: &Route, probe: Option<&str>) -> Result<Url, EffectError> {
    let text = match probe {
        Some(url) => url.to_owned(),
        None => {
            let address = local_address(&route.address);
            let path = route.check.path.as_deref().or(route.path_prefix.as_deref()).unwrap_or("/");
            format!("http://{address}{path}")
        }
    };
    Url::parse(&text).map_err(|why| {
        EffectError::new(ErrorKind::Invalid, format!("`{text}` is not a URL: {why}"))
            .hint("set `probe` in `traffic_route` to a URL at which the service answers")
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
    fn asks_at_the_address_that_is_reached_local_address() {
        let url = |address, path, probe| public_url(&route(address, path), probe).unwrap().to_string();
        assert_eq!(url("0.0.0.0:80", None, None), "http://127.0.0.1/");
        assert_eq!(url("[::]:8080", Some("/health"), None), "http://[::1]:8080/health");
        assert_eq!(url("10.0.0.7:8080", None, None), "http://10.0.0.7:8080/");
        assert_eq!(url("0.0.0.0:443", None, Some("https://web.test/")), "https://web.test/");
        assert_eq!(public_url(&route("0.0.0.0:80", None), Some("web")).unwrap_err().kind, ErrorKind::Invalid);
    }
}
