use std::net::TcpListener;
use std::time::Duration;

use deployer::effect::{Applied, ErrorKind};
use serde_json::json;

use super::{Fixture, SECRET};
use crate::support::webhook_receiver::{WebhookReceiver, WebhookReply};

#[tokio::test]
async fn get_and_post_fill_in_secrets() {
    let server = WebhookReceiver::answering(|_| {
        WebhookReply::new(200, r#"{"a": 1}"#)
            .header("Content-Type", "application/json")
            .header("X-A", "1")
            .header("x-a", "2")
    });
    let fixture = Fixture::new();
    let token = json!({"secret_text": ["Bearer ", {"secret": "TOKEN"}]});
    let reply = fixture
        .ask("http_get", json!({"url": server.url("/x?y=1"), "headers": {"Authorization": token}}))
        .await
        .unwrap();
    assert_eq!((&reply["status"], &reply["json"]["a"]), (&json!(200), &json!(1)));
    assert_eq!(reply["headers"]["x-a"], "1, 2");
    let request = server.only();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/x?y=1"));
    assert_eq!(request.headers["authorization"], format!("Bearer {SECRET}"));

    let secret = json!({"secret_text": [{"secret": "TOKEN"}]});
    fixture.ask("http_post", json!({"url": server.url("/"), "json": {"key": secret, "n": [1]}})).await.unwrap();
    fixture.ask("http_post", json!({"url": server.url("/"), "body": "plain"})).await.unwrap();
    let received = server.received();
    assert_eq!(received[1].headers["content-type"], "application/json");
    assert_eq!(received[1].json(), json!({"key": SECRET, "n": [1]}));
    assert_eq!(received[2].body, "plain");
}

#[tokio::test]
async fn a_bad_status_is_an_error_with_the_body() {
    let server = WebhookReceiver::answering(|_| WebhookReply::new(503, "closed for today"));
    let fixture = Fixture::new();
    let error = fixture.refused("http_get", json!({"url": server.url("/")})).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.ends_with("answered 503 Service Unavailable"), "{error}");
    assert_eq!(error.detail.as_deref(), Some("closed for today"));
    let reply = fixture.ask("http_get", json!({"url": server.url("/"), "check": false})).await.unwrap();
    assert_eq!(reply["status"], 503);
}

#[tokio::test]
async fn a_long_body_is_truncated() {
    let server = WebhookReceiver::answering(|_| WebhookReply::new(200, vec![b'x'; 5 << 20]));
    let reply = Fixture::new().ask("http_get", json!({"url": server.url("/")})).await.unwrap();
    assert_eq!(reply["body"].as_str().unwrap().len(), 1 << 20);
    assert_eq!(reply["truncated"], true);
}

#[tokio::test]
async fn redirects_are_followed_up_to_a_limit() {
    let server = WebhookReceiver::answering(|request| match request.path.as_str() {
        "/once" => WebhookReply::new(302, "").header("Location", "/there"),
        "/there" => WebhookReply::new(200, "arrived"),
        _ => WebhookReply::new(302, "").header("Location", "/loop"),
    });
    let fixture = Fixture::new();
    let reply = fixture.ask("http_get", json!({"url": server.url("/once")})).await.unwrap();
    assert_eq!(reply["body"], "arrived");
    let error = fixture.refused("http_get", json!({"url": server.url("/loop")})).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.contains("more than 10 times"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_server_receives_nothing() {
    let other = WebhookReceiver::answering(|_| WebhookReply::new(200, "stolen"));
    let target = other.url("/steal");
    let server = WebhookReceiver::answering(move |_| WebhookReply::new(307, "").header("Location", &target));
    let fixture = Fixture::new();
    for (primitive, body) in [("http_get", json!({})), ("http_post", json!({"body": "private"}))] {
        let mut args = json!({"url": server.url("/?token=private"), "headers": {"X-Api-Key": "private"}});
        args.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let error = fixture.refused(primitive, args).await;
        assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::Unknown), "{error}");
        assert!(error.message.contains("redirected to another server"), "{error}");
    }
    assert!(other.received().is_empty(), "the other server was asked");
}

#[tokio::test]
async fn refused_connections_and_timeouts_have_distinct_errors() {
    let fixture = Fixture::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/");
    let error = fixture.refused("http_post", json!({"url": url})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Unavailable, Applied::No));
    assert!(error.message.ends_with("failed: connection refused"), "{error}");

    let silent = WebhookReceiver::answering(|_| WebhookReply::new(200, "").delay(Duration::from_secs(3)));
    let error = fixture.refused("http_post", json!({"url": silent.url("/"), "timeout": "100ms"})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Timeout, Applied::Unknown));

    fixture.call.cancel.cancel();
    assert_eq!(fixture.refused("http_get", json!({"url": url})).await.kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_wrong_request_is_invalid_and_shows_no_secret() {
    let fixture = Fixture::new();
    for args in [
        json!({"url": "nonsense"}),
        json!({"url": {"secret_text": [{"secret": "TOKEN"}]}}),
        json!({"url": "http://h/", "headers": {"bad name": "x"}}),
        json!({"url": "http://h/", "headers": {"x": {"secret_text": [{"secret": "TOKEN"}, "\n"]}}}),
        json!({"url": "http://h/", "body": "x", "json": 1}),
    ] {
        let error = fixture.refused("http_post", args.clone()).await;
        assert_eq!((error.kind, error.applied), (ErrorKind::Invalid, Applied::No), "{args}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    let missing = fixture.refused("http_get", json!({"url": {"secret_text": [{"secret": "NOPE"}]}})).await;
    assert_eq!(missing.kind, ErrorKind::MissingSecret);
}
