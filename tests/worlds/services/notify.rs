use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deployer::effect::ErrorKind;
use deployer::world::clock::{Clock, SystemClock};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Fixture, SECRET};
use crate::support::fake_engine::FakeEngine;
use crate::support::webhook_receiver::{WebhookReceiver, WebhookReply};

fn notification(channel: &str, url: &str) -> Value {
    json!({
        "channel": channel, "url": url, "event": "succeeded", "service": "web", "release": "v2",
        "message": "by hand", "fields": {"commit": "abc"},
    })
}

#[tokio::test]
async fn every_channel_has_its_own_format() {
    let server = WebhookReceiver::answering(|_| WebhookReply::new(204, ""));
    let fixture = Fixture::new();
    for channel in ["slack", "discord", "teams", "webhook"] {
        let reply = fixture.ask("notify", notification(channel, &server.url("/hook"))).await.unwrap();
        assert_eq!(reply, json!({"delivered": true, "error": null}), "{channel}");
    }
    let bodies: Vec<Value> = server.received().iter().map(|request| request.json()).collect();
    assert_eq!(bodies[0]["text"], "web: done\nRelease v2 is live.\nby hand");
    assert_eq!(bodies[1]["embeds"][0]["title"], "web: done");
    assert_eq!(bodies[2]["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(
        bodies[3],
        json!({
            "event": "succeeded", "service": "web", "release": "v2", "message": "by hand", "fields": {"commit": "abc"},
            "text": "web: done\nRelease v2 is live.\nby hand\nservice: web\nrelease: v2\ncommit: abc",
        })
    );
    assert!(server.received().iter().all(|request| request.headers["content-type"] == "application/json"));
}

#[tokio::test]
async fn a_failed_delivery_is_an_outcome_without_the_secret() {
    let server = WebhookReceiver::answering(|request| WebhookReply::new(404, format!("no {}", request.path)));
    let fixture = Fixture::new();
    let secret_url = json!({"secret_text": [server.url("/services/"), {"secret": "TOKEN"}]});
    let mut request = notification("slack", "");
    request["url"] = secret_url;
    let reply = fixture.ask("notify", request).await.unwrap();
    assert_eq!(reply, json!({"delivered": false, "error": "`127.0.0.1` answered 404 Not Found: no …"}));
    assert_eq!(server.only().path, format!("/services/{SECRET}"));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reply = fixture.ask("notify", notification("discord", &format!("http://{closed}/very-secret"))).await.unwrap();
    let error = reply["error"].as_str().unwrap();
    assert_eq!(error, "cannot reach `127.0.0.1`: connection refused");

    let silent = WebhookReceiver::answering(|_| WebhookReply::new(200, "").delay(Duration::from_secs(3)));
    let mut request = notification("teams", &silent.url("/very-secret"));
    request["timeout"] = json!("100ms");
    let reply = fixture.ask("notify", request).await.unwrap();
    assert_eq!(reply["error"], "not delivered within 100ms");
    silent.only();

    let moved = WebhookReceiver::answering(|_| WebhookReply::new(302, "").header("Location", "/elsewhere"));
    let reply = fixture.ask("notify", notification("webhook", &moved.url("/"))).await.unwrap();
    assert_eq!(reply["error"], "`127.0.0.1` answered 302 Found");
}

/// The system clock, which also starts the receiver on the first sleep of less than a second.
struct ReceiverStartingClock {
    clock: SystemClock,
    address: SocketAddr,
    server: Arc<Mutex<Option<WebhookReceiver>>>,
}

impl Clock for ReceiverStartingClock {
    fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    fn steady_ms(&self) -> u64 {
        self.clock.steady_ms()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < Duration::from_secs(1) {
            let listener = TcpListener::bind(self.address).unwrap();
            *self.server.lock().unwrap() = Some(WebhookReceiver::on(listener, |_| WebhookReply::new(200, "ok")));
        }
        self.clock.sleep(duration)
    }
}

#[tokio::test]
async fn a_refused_connection_is_retried() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Arc::new(Mutex::new(None));
    let clock = ReceiverStartingClock { clock: SystemClock::default(), address, server: Arc::clone(&server) };
    let fixture = Fixture::with(FakeEngine::default(), Arc::new(clock));
    let reply = fixture.ask("notify", notification("webhook", &format!("http://{address}/"))).await.unwrap();
    assert_eq!(reply["delivered"], true);
    server.lock().unwrap().take().unwrap().only();
}

#[tokio::test]
async fn a_wrong_request_is_invalid() {
    let fixture = Fixture::new();
    for request in [
        json!({"channel": "slack", "message": "x"}),
        json!({"channel": "slack", "message": "x", "url": "very-secret"}),
        json!({"channel": "webhook", "url": "http://127.0.0.1:1/"}),
    ] {
        let error = fixture.refused("notify", request.clone()).await;
        assert_eq!(error.kind, ErrorKind::Invalid, "{request}");
        assert!(!error.message.contains("very-secret"));
    }
}
