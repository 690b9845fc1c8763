use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deployer::effect::ErrorKind;
use deployer::world::clock::{Clock, SystemClock};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::support::twin_engine::TwinEngine;
use super::support::webhook_receiver::{Answer, WebhookReceiver};
use super::{Bench, SECRET};

fn told(channel: &str, url: &str) -> Value {
    json!({
        "channel": channel, "url": url, "event": "succeeded", "service": "web", "release": "v2",
        "message": "by hand", "fields": {"commit": "abc"},
    })
}

#[tokio::test]
async fn every_channel_gets_its_own_form() {
    let server = WebhookReceiver::answering(|_| Answer::new(204, ""));
    let bench = Bench::new();
    for channel in ["slack", "discord", "teams", "webhook"] {
        let reply = bench.ask("notify", told(channel, &server.url("/hook"))).await.unwrap();
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
async fn a_failure_is_an_answer_without_the_secret_part() {
    let server = WebhookReceiver::answering(|request| Answer::new(404, format!("no {}", request.path)));
    let bench = Bench::new();
    let secret_url = json!({"secret_text": [server.url("/services/"), {"secret": "TOKEN"}]});
    let mut request = told("slack", "");
    request["url"] = secret_url;
    let reply = bench.ask("notify", request).await.unwrap();
    assert_eq!(reply, json!({"delivered": false, "error": "`127.0.0.1` answered 404 Not Found: no …"}));
    assert_eq!(server.only().path, format!("/services/{SECRET}"));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reply = bench.ask("notify", told("discord", &format!("http://{closed}/very-secret"))).await.unwrap();
    let error = reply["error"].as_str().unwrap();
    assert_eq!(error, "`127.0.0.1` cannot be reached: connection refused");

    let silent = WebhookReceiver::answering(|_| Answer::new(200, "").delay(Duration::from_secs(3)));
    let mut request = told("teams", &silent.url("/very-secret"));
    request["timeout"] = json!("100ms");
    let reply = bench.ask("notify", request).await.unwrap();
    assert_eq!(reply["error"], "not delivered within 100ms");
    silent.only();

    let moved = WebhookReceiver::answering(|_| Answer::new(302, "").header("Location", "/elsewhere"));
    let reply = bench.ask("notify", told("webhook", &moved.url("/"))).await.unwrap();
    assert_eq!(reply["error"], "`127.0.0.1` answered 302 Found");
}

/// The machine's clock; starts the receiver when somebody pauses for less than a second.
struct OpeningClock {
    clock: SystemClock,
    address: SocketAddr,
    server: Arc<Mutex<Option<WebhookReceiver>>>,
}

impl Clock for OpeningClock {
    fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    fn steady_ms(&self) -> u64 {
        self.clock.steady_ms()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < Duration::from_secs(1) {
            let listener = TcpListener::bind(self.address).unwrap();
            *self.server.lock().unwrap() = Some(WebhookReceiver::on(listener, |_| Answer::new(200, "ok")));
        }
        self.clock.sleep(duration)
    }
}

#[tokio::test]
async fn a_refused_connection_is_tried_once_more() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Arc::new(Mutex::new(None));
    let clock = OpeningClock { clock: SystemClock::default(), address, server: Arc::clone(&server) };
    let bench = Bench::with(TwinEngine::default(), Arc::new(clock));
    let reply = bench.ask("notify", told("webhook", &format!("http://{address}/"))).await.unwrap();
    assert_eq!(reply["delivered"], true);
    server.lock().unwrap().take().unwrap().only();
}

#[tokio::test]
async fn a_wrong_request_is_invalid() {
    let bench = Bench::new();
    for request in [
        json!({"channel": "slack", "message": "x"}),
        json!({"channel": "slack", "message": "x", "url": "very-secret"}),
        json!({"channel": "webhook", "url": "http://127.0.0.1:1/"}),
    ] {
        let error = bench.refused("notify", request.clone()).await;
        assert_eq!(error.kind, ErrorKind::Invalid, "{request}");
        assert!(!error.message.contains("very-secret"));
    }
}
