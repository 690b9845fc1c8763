use std::net::TcpListener;
use std::time::Duration;

use deployer::effect::{Applied, ErrorKind};
use serde_json::json;

use super::support::webhook_receiver::{Answer, WebhookReceiver};
use super::{Bench, SECRET};

#[tokio::test]
async fn gets_and_posts_with_secrets_filled_in() {
    let server = WebhookReceiver::answering(|_| {
        Answer::new(200, r#"{"a": 1}"#).header("Content-Type", "application/json").header("X-A", "1").header("x-a", "2")
    });
    let bench = Bench::new();
    let token = json!({"secret_text": ["Bearer ", {"secret": "TOKEN"}]});
    let reply =
        bench.ask("http_get", json!({"url": server.url("/x?y=1"), "headers": {"Authorization": token}})).await.unwrap();
    assert_eq!((&reply["status"], &reply["json"]["a"]), (&json!(200), &json!(1)));
    assert_eq!(reply["headers"]["x-a"], "1, 2");
    let got = server.only();
    assert_eq!((got.method.as_str(), got.path.as_str()), ("GET", "/x?y=1"));
    assert_eq!(got.headers["authorization"], format!("Bearer {SECRET}"));

    let secret = json!({"secret_text": [{"secret": "TOKEN"}]});
    bench.ask("http_post", json!({"url": server.url("/"), "json": {"key": secret, "n": [1]}})).await.unwrap();
    bench.ask("http_post", json!({"url": server.url("/"), "body": "plain"})).await.unwrap();
    let received = server.received();
    assert_eq!(received[1].headers["content-type"], "application/json");
    assert_eq!(received[1].json(), json!({"key": SECRET, "n": [1]}));
    assert_eq!(received[2].body, "plain");
}

#[tokio::test]
async fn a_bad_status_fails_with_the_body_as_evidence() {
    let server = WebhookReceiver::answering(|_| Answer::new(503, "closed for today"));
    let bench = Bench::new();
    let error = bench.refused("http_get", json!({"url": server.url("/")})).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.ends_with("was answered with 503 Service Unavailable"), "{error}");
    assert_eq!(error.detail.as_deref(), Some("closed for today"));
    let reply = bench.ask("http_get", json!({"url": server.url("/"), "check": false})).await.unwrap();
    assert_eq!(reply["status"], 503);
}

#[tokio::test]
async fn a_long_body_is_cut() {
    let server = WebhookReceiver::answering(|_| Answer::new(200, vec![b'x'; 5 << 20]));
    let reply = Bench::new().ask("http_get", json!({"url": server.url("/")})).await.unwrap();
    assert_eq!(reply["body"].as_str().unwrap().len(), 1 << 20);
    assert_eq!(reply["truncated"], true);
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let server = WebhookReceiver::answering(|request| match request.path.as_str() {
        "/once" => Answer::new(302, "").header("Location", "/there"),
        "/there" => Answer::new(200, "arrived"),
        _ => Answer::new(302, "").header("Location", "/loop"),
    });
    let bench = Bench::new();
    let reply = bench.ask("http_get", json!({"url": server.url("/once")})).await.unwrap();
    assert_eq!(reply["body"], "arrived");
    let error = bench.refused("http_get", json!({"url": server.url("/loop")})).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.contains("more than 10 times"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_is_told_apart() {
    let bench = Bench::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/");
    let error = bench.refused("http_post", json!({"url": url})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Unavailable, Applied::No));
    assert!(error.message.ends_with("failed: connection refused"), "{error}");

    let silent = WebhookReceiver::answering(|_| Answer::new(200, "").delay(Duration::from_secs(3)));
    let error = bench.refused("http_post", json!({"url": silent.url("/"), "timeout": "100ms"})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Timeout, Applied::Unknown));

    bench.call.cancel.cancel();
    assert_eq!(bench.refused("http_get", json!({"url": url})).await.kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_wrong_request_is_invalid_and_shows_no_secret() {
    let bench = Bench::new();
    for args in [
        json!({"url": "nonsense"}),
        json!({"url": {"secret_text": [{"secret": "TOKEN"}]}}),
        json!({"url": "http://h/", "headers": {"bad name": "x"}}),
        json!({"url": "http://h/", "headers": {"x": {"secret_text": [{"secret": "TOKEN"}, "\n"]}}}),
        json!({"url": "http://h/", "body": "x", "json": 1}),
    ] {
        let error = bench.refused("http_post", args.clone()).await;
        assert_eq!((error.kind, error.applied), (ErrorKind::Invalid, Applied::No), "{args}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    let missing = bench.refused("http_get", json!({"url": {"secret_text": [{"secret": "NOPE"}]}})).await;
    assert_eq!(missing.kind, ErrorKind::MissingSecret);
}
