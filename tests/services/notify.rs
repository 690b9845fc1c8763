use std::net::TcpListener;
use std::time::Duration;

use deployer::effect::ErrorKind;
use serde_json::{Value, json};

use super::support::until;
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
    assert_eq!(reply, json!({"delivered": false, "error": "`127.0.0.1` answered 404 Not Found: no /…"}));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_once_more() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let bench = Bench::new();
    let request = told("webhook", &format!("http://{address}/"));
    let sending = tokio::spawn(async move { bench.ask("notify", request).await });
    // Whether the first try meets a closed port or not, the letter must arrive once.
    let server = WebhookReceiver::on(TcpListener::bind(address).unwrap(), |_| Answer::new(200, "ok"));
    assert_eq!(sending.await.unwrap().unwrap()["delivered"], true);
    until("the letter", || server.received().first().cloned());
    server.only();
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
