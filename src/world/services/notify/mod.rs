//! `notify`: builds the message in the receiver's form and delivers it. A failed delivery is an answer, not an error.

mod discord;
mod email;
mod slack;
mod teams;
mod template;
mod webhook;

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::Services;
use super::http::{parse_url, status_line};
use super::reason::{clip, never_connected, reason};
use super::wait::within;
use crate::base::vault::SHORTEST_SCRUBBED;
use crate::effect::notify::{Channel, Notified, Notify, NotifyEffect, NotifyOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use template::Message;

/// Before the one retry of a connection that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Characters of a refusal that the reply shows.
const EVIDENCE: usize = 200;

/// Why it did not arrive.
#[derive(Debug)]
struct Undelivered {
    why: String,
    /// The other side never had it.
    may_retry: bool,
}

impl Services {
    pub(super) async fn notify(&self, call: &Call, effect: &NotifyEffect) -> Result<NotifyOutcome, EffectError> {
        match effect {
            NotifyEffect::Send(request) => self.notify_send(call, request).await.map(NotifyOutcome::Send),
        }
    }

    async fn notify_send(&self, call: &Call, request: &Notify) -> Result<Notified, EffectError> {
        let message = Message::of(request)?;
        let letter = match request.channel {
            Channel::Slack => Letter::Json(url_of(call, request)?, slack::payload(&message)),
            Channel::Discord => Letter::Json(url_of(call, request)?, discord::payload(&message)),
            Channel::Teams => Letter::Json(url_of(call, request)?, teams::payload(&message)),
            Channel::Webhook => Letter::Json(url_of(call, request)?, webhook::payload(request, &message)),
            Channel::Email => Letter::Mail(Box::new(email::Mail::of(call, request, &message)?)),
        };
        let too_late = || EffectError::new(ErrorKind::Timeout, format!("not delivered within {}", request.timeout));
        let delivered = within(call, self.clock.as_ref(), request.timeout.0, too_late, async {
            Ok(match self.deliver(&letter, request.timeout.0).await {
                Err(undelivered) if undelivered.may_retry => {
                    self.clock.sleep(RETRY_PAUSE).await;
                    self.deliver(&letter, request.timeout.0).await
                }
                delivered => delivered,
            })
        });
        let error = match delivered.await {
            Ok(Ok(())) => return Ok(Notified { delivered: true, error: None }),
            Ok(Err(undelivered)) => undelivered.why,
            Err(error) if error.kind == ErrorKind::Timeout => error.message,
            Err(error) => return Err(error),
        };
        Ok(Notified { delivered: false, error: Some(call.vault.scrub(&error)) })
    }

    async fn deliver(&self, letter: &Letter, timeout: Duration) -> Result<(), Undelivered> {
        match letter {
            Letter::Mail(mail) => mail.send(timeout).await,
            Letter::Json(url, payload) => self.post(url, payload).await,
        }
    }

    async fn post(&self, url: &Url, payload: &Value) -> Result<(), Undelivered> {
        let host = url.host_str().unwrap_or("the receiver");
        let client = self.clients.direct().map_err(|error| Undelivered { why: error.message, may_retry: false })?;
        let mut response = client.post(url.clone()).json(payload).send().await.map_err(|error| Undelivered {
            may_retry: error.is_connect(),
            why: format!("`{host}` cannot be reached: {}", reason(&error.without_url())),
        })?;
        if response.status().is_success() {
            return Ok(());
        }
        let line = status_line(&response);
        let said = response.chunk().await.ok().flatten().unwrap_or_default();
        let said = clip(without_address(url, String::from_utf8_lossy(&said).trim()).as_str(), EVIDENCE);
        let colon = if said.is_empty() { "" } else { ": " };
        Err(Undelivered { why: format!("`{host}` answered {line}{colon}{said}"), may_retry: false })
    }
}

/// Some servers repeat the address that they were asked at; all of it but the host may be the secret.
fn without_address(url: &Url, said: &str) -> String {
    let path = url.path().split('/').filter(|part| part.len() >= SHORTEST_SCRUBBED);
    let whole = [url.path(), url.query().unwrap_or_default(), url.password().unwrap_or_default()];
    let parts = whole.into_iter().filter(|part| part.len() >= SHORTEST_SCRUBBED).chain(path);
    parts.fold(said.to_owned(), |said, part| said.replace(part, "…"))
}

/// A message ready to be sent.
enum Letter {
    Json(Url, Value),
    Mail(Box<email::Mail>),
}

fn url_of(call: &Call, request: &Notify) -> Result<Url, EffectError> {
    let text = request.url.as_ref().ok_or_else(|| invalid("`url` of the webhook is needed"))?;
    // The address of a webhook is a secret as a whole, whether or not the script says so.
    parse_url(&call.vault, text).map_err(|error| match error.kind {
        ErrorKind::Invalid => invalid("`url` is not a URL that starts with `http://` or `https://`"),
        _ => error,
    })
}

fn invalid(message: impl Into<String>) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}
