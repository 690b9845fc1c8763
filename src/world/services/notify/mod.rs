//! `notify`: formats a message for its channel and delivers it. A failed delivery is a reply, not an error.

mod delivery_error;
mod discord;
mod email;
mod message;
mod slack;
mod teams;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::cancellation::with_timeout;
use super::error_text::{root_cause, truncate};
use super::http::clients::HttpClients;
use super::http::request::{parse_url, status_line};
use crate::base::vault::SHORTEST_SCRUBBED;
use crate::effect::notify::{Channel, Notified, Notify, NotifyEffect, NotifyOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use delivery_error::{DeliveryError, invalid};
use message::Message;

/// Pause before the one retry after a failed connection.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Characters of a server's error that the reply shows.
const EXCERPT_LIMIT: usize = 200;

/// Performs `notify`.
pub(crate) struct NotifyService {
    clients: Arc<HttpClients>,
    clock: Arc<dyn Clock>,
}

impl NotifyService {
    pub(crate) fn new(clients: Arc<HttpClients>, clock: Arc<dyn Clock>) -> Self {
        Self { clients, clock }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &NotifyEffect) -> Result<NotifyOutcome, EffectError> {
        match effect {
            NotifyEffect::Send(request) => self.send(call, request).await.map(NotifyOutcome::Send),
        }
    }

    async fn send(&self, call: &Call, request: &Notify) -> Result<Notified, EffectError> {
        let message = Message::new(request)?;
        let payload = match request.channel {
            Channel::Slack => Payload::Json(webhook_url(call, request)?, slack::payload(&message)),
            Channel::Discord => Payload::Json(webhook_url(call, request)?, discord::payload(&message)),
            Channel::Teams => Payload::Json(webhook_url(call, request)?, teams::payload(&message)),
            Channel::Webhook => Payload::Json(webhook_url(call, request)?, webhook::payload(request, &message)),
            Channel::Email => Payload::Mail(Box::new(email::Mail::new(call, request, &message)?)),
        };
        let timed_out = || EffectError::new(ErrorKind::Timeout, format!("not delivered within {}", request.timeout));
        let delivered = with_timeout(call, self.clock.as_ref(), request.timeout.0, timed_out, async {
            Ok(match self.deliver(&payload, request.timeout.0).await {
                Err(error) if error.may_retry => {
                    self.clock.sleep(RETRY_PAUSE).await;
                    self.deliver(&payload, request.timeout.0).await
                }
                delivered => delivered,
            })
        });
        let error = match delivered.await {
            Ok(Ok(())) => return Ok(Notified { delivered: true, error: None }),
            Ok(Err(error)) => error.reason,
            Err(error) if error.kind == ErrorKind::Timeout => error.message,
            Err(error) => return Err(error),
        };
        Ok(Notified { delivered: false, error: Some(call.vault.scrub(&error)) })
    }

    async fn deliver(&self, payload: &Payload, timeout: Duration) -> Result<(), DeliveryError> {
        match payload {
            Payload::Mail(mail) => mail.send(timeout).await,
            Payload::Json(url, json) => self.post(url, json).await,
        }
    }

    async fn post(&self, url: &Url, json: &Value) -> Result<(), DeliveryError> {
        let host = url.host_str().unwrap_or("the receiver");
        let client =
            self.clients.direct().map_err(|error| DeliveryError { reason: error.message, may_retry: false })?;
        let mut response = client.post(url.clone()).json(json).send().await.map_err(|error| DeliveryError {
            may_retry: error.is_connect(),
            reason: format!("cannot reach `{host}`: {}", root_cause(&error.without_url())),
        })?;
        if response.status().is_success() {
            return Ok(());
        }
        let line = status_line(&response);
        let body = response.chunk().await.ok().flatten().unwrap_or_default();
        let body = truncate(&scrub_url(url, String::from_utf8_lossy(&body).trim()), EXCERPT_LIMIT);
        let colon = if body.is_empty() { "" } else { ": " };
        Err(DeliveryError { reason: format!("`{host}` answered {line}{colon}{body}"), may_retry: false })
    }
}

/// Removes the parts of the URL from a response. Some servers repeat the URL, and all of it but the host may be secret.
fn scrub_url(url: &Url, body: &str) -> String {
    let path = url.path().split('/').filter(|part| part.len() >= SHORTEST_SCRUBBED);
    let whole = [url.path(), url.query().unwrap_or_default(), url.password().unwrap_or_default()];
    let parts = whole.into_iter().filter(|part| part.len() >= SHORTEST_SCRUBBED).chain(path);
    parts.fold(body.to_owned(), |body, part| body.replace(part, "…"))
}

/// A message that is ready to be sent.
enum Payload {
    Json(Url, Value),
    Mail(Box<email::Mail>),
}

fn webhook_url(call: &Call, request: &Notify) -> Result<Url, EffectError> {
    let text = request.required_url()?;
    // The whole URL of a webhook is secret, even if the script does not mark it as such.
    parse_url(&call.vault, text).map_err(|error| match error.kind {
        ErrorKind::Invalid => invalid("`url` is not a URL that starts with `http://` or `https://`"),
        _ => error,
    })
}
