use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deployer::effect::ErrorKind;
use deployer::effect::container::ContainerState;
use serde_json::json;

use super::Fixture;
use crate::support::until;
use crate::support::webhook_receiver::{WebhookReceiver, WebhookReply};

/// A free address, with the listener that reserves it. It refuses connections once the listener is dropped.
fn reserved_address() -> (std::net::SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_waited_for_with_progress() {
    let (address, listener) = reserved_address();
    drop(listener);
    let mut fixture = Fixture::new();
    let progress = fixture.record_progress();
    fixture.engine.add_container("web", Some(address));
    let starter = Arc::clone(&progress);
    let app = std::thread::spawn(move || {
        until("third try", || starter.lock().unwrap().iter().find(|line| line.starts_with("try 3:")).cloned());
        WebhookReceiver::on(TcpListener::bind(address).unwrap(), |_| WebhookReply::new(200, "ok"))
    });
    let healthy = fixture.ask("health_wait", json!({"container": "web", "path": "/"})).await.unwrap();
    assert!(healthy["attempts"].as_u64().unwrap() > 3, "{healthy}");
    assert_eq!(healthy["status"], 200);
    assert_eq!(progress.lock().unwrap()[0], "try 1: connection refused");
    drop(app.join());
}

#[tokio::test]
async fn a_ready_app_needs_one_try() {
    let server = WebhookReceiver::start();
    let fixture = Fixture::new();
    fixture.engine.add_container("web", Some(server.address));
    let healthy = fixture.ask("health_wait", json!({"container": "web", "port": 5000})).await.unwrap();
    assert_eq!(healthy["attempts"], 1);
    let tcp = fixture.ask("health_wait", json!({"tcp": server.address.to_string()})).await.unwrap();
    assert_eq!(tcp["attempts"], 1);
    let url = fixture.ask("health_wait", json!({"url": server.url("/")})).await.unwrap();
    assert_eq!(url["status"], 200);
}

#[tokio::test]
async fn the_error_includes_the_last_answer_and_the_log() {
    let server = WebhookReceiver::answering(|request| match request.path.as_str() {
        "/500" => WebhookReply::new(500, "boom"),
        "/redirect" => WebhookReply::new(302, "").header("Location", "/login"),
        _ => WebhookReply::new(200, r#"{"status": "starting"}"#),
    });
    let fixture = Fixture::new();
    fixture.engine.add_container("web", Some(server.address));
    fixture.engine.log("web", (1..=30).map(|number| format!("line {number}")));
    let wait = |extra: serde_json::Value| {
        let mut args = json!({"container": "web", "timeout": "200ms"});
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        fixture.refused("health_wait", args)
    };
    let error = wait(json!({"path": "/500"})).await;
    assert_eq!(error.kind, ErrorKind::Unhealthy);
    assert_eq!(error.message, "`web` was not healthy within 200ms; last answer: 500 Internal Server Error");
    let detail = error.detail.unwrap();
    assert!(detail.starts_with("line 11\n") && detail.ends_with("line 30"), "{detail}");

    let error = wait(json!({"path": "/redirect"})).await;
    assert!(error.message.ends_with("last answer: 302 Found to `/login`"), "{error}");
    assert!(error.hint.unwrap().contains("not followed"));
    let redirect = fixture.ask("health_wait", json!({"container": "web", "path": "/redirect", "status": [302]})).await;
    assert_eq!(redirect.unwrap()["status"], 302);

    let error = wait(json!({"path": "/", "json": {"status": "ok"}})).await;
    assert!(error.message.ends_with(r#"last answer: field `status` is "starting", not "ok""#), "{error}");
    let error = wait(json!({"path": "/", "body": "ready"})).await;
    assert!(error.message.ends_with("last answer: the body does not contain `ready`"), "{error}");
    fixture.ask("health_wait", json!({"container": "web", "path": "/", "body": "start"})).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_ends_only_the_try() {
    let server = WebhookReceiver::answering(|request| {
        WebhookReply::new(200, "ok").delay(Duration::from_millis(if request.number == 1 { 2000 } else { 0 }))
    });
    let args = json!({"url": server.url("/"), "request_timeout": "50ms"});
    let healthy = Fixture::new().ask("health_wait", args).await.unwrap();
    assert!(healthy["attempts"].as_u64().unwrap() >= 2, "{healthy}");
}

#[tokio::test]
async fn successes_must_be_consecutive() {
    let server = WebhookReceiver::answering(|request| {
        WebhookReply::new(if [1, 2, 4, 5, 6].contains(&request.number) { 200 } else { 500 }, "")
    });
    let args = json!({"url": server.url("/"), "successes": 3, "interval": "5ms"});
    assert_eq!(Fixture::new().ask("health_wait", args).await.unwrap()["attempts"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_dies_ends_the_wait_at_once() {
    let (address, listener) = reserved_address();
    drop(listener);
    for (path, change, message) in [
        (Some("/"), "exit", "container `web` ended with exit code 3 during the wait"),
        (None, "exit", "container `web` ended with exit code 3 during the wait"),
        (Some("/"), "oom", "container `web` ran out of memory and was killed (exit code 137)"),
        (Some("/"), "loop", "container `web` keeps ending with exit code 1 and being restarted"),
        (Some("/"), "gone", "container `web` was removed during the wait"),
    ] {
        let mut fixture = Fixture::new();
        let progress = fixture.record_progress();
        fixture.engine.add_container("web", Some(address));
        fixture.engine.log("web", ["Traceback".to_owned()]);
        let engine = Arc::clone(&fixture.engine);
        let killer = std::thread::spawn(move || {
            until("first try", || progress.lock().unwrap().first().cloned());
            match change {
                "gone" => engine.remove("web"),
                "exit" => engine.exit("web", 3),
                "oom" => {
                    engine.change("web", |container| container.oom_killed = true);
                    engine.exit("web", 137);
                }
                _ => engine.change("web", |container| {
                    container.exit_code = Some(1);
                    container.state = ContainerState::Restarting;
                }),
            }
            Instant::now()
        });
        let error = fixture.refused("health_wait", json!({"container": "web", "path": path, "steady": "30s"})).await;
        let elapsed = killer.join().unwrap().elapsed();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::ContainerDied, message));
        assert!(elapsed < Duration::from_millis(900), "{change}: {elapsed:?}");
        assert_eq!(error.detail.as_deref(), (change != "gone").then_some("Traceback"), "{change}");
    }
}

#[tokio::test]
async fn a_container_that_never_existed_is_not_found() {
    let error = Fixture::new().refused("health_wait", json!({"container": "web", "path": "/"})).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, "container `web` does not exist"));
    let error = Fixture::new().refused("health_wait", json!({})).await;
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn another_servers_answer_does_not_make_a_dead_container_healthy() {
    let server = WebhookReceiver::start();
    let fixture = Fixture::new();
    fixture.engine.add_container("web", Some(server.address));
    fixture.engine.exit("web", 1);
    let error = fixture.refused("health_wait", json!({"container": "web", "url": server.url("/")})).await;
    assert_eq!(error.kind, ErrorKind::ContainerDied);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_of_the_engine_is_used() {
    let mut fixture = Fixture::new();
    let progress = fixture.record_progress();
    fixture.engine.add_container("web", None);
    fixture.engine.change("web", |container| container.health = Some("starting".into()));
    let engine = Arc::clone(&fixture.engine);
    let health_check = std::thread::spawn(move || {
        until("first look", || progress.lock().unwrap().first().cloned());
        engine.change("web", |container| container.health = Some("healthy".into()));
    });
    fixture.ask("health_wait", json!({"container": "web"})).await.unwrap();
    health_check.join().unwrap();
    fixture.engine.change("web", |container| container.health = Some("unhealthy".into()));
    let error = fixture.refused("health_wait", json!({"container": "web"})).await;
    assert_eq!(error.kind, ErrorKind::Unhealthy);
}

#[tokio::test]
async fn without_a_check_the_container_must_stay_running() {
    let fixture = Fixture::new();
    fixture.engine.add_container("web", None);
    let healthy = fixture.ask("health_wait", json!({"container": "web", "steady": "120ms"})).await.unwrap();
    let waited = healthy["waited_ms"].as_u64().unwrap();
    assert!((120..1000).contains(&waited), "{waited}");
    fixture.engine.change("web", |container| container.state = ContainerState::Created);
    let error = fixture.refused("health_wait", json!({"container": "web", "timeout": "60ms"})).await;
    assert!(error.message.ends_with("last answer: the container is created"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_wait_at_once() {
    let server = WebhookReceiver::answering(|_| WebhookReply::new(500, ""));
    let fixture = Fixture::new();
    let cancel = fixture.call.cancel.clone();
    let address = server.url("/");
    let canceller = std::thread::spawn(move || {
        until("first request", || server.received().first().cloned());
        cancel.cancel();
        Instant::now()
    });
    let error = fixture.refused("health_wait", json!({"url": address})).await;
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(canceller.join().unwrap().elapsed() < Duration::from_millis(500));
}
