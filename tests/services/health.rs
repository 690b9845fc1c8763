use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deployer::effect::ErrorKind;
use deployer::effect::container::ContainerState;
use serde_json::json;

use super::Bench;
use super::support::until;
use super::support::webhook_receiver::{Answer, WebhookReceiver};

/// An address that refuses connections until somebody listens there.
fn closed_port() -> (std::net::SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_is_waited_for_and_told() {
    let (address, listener) = closed_port();
    drop(listener);
    let mut bench = Bench::new();
    let heard = bench.hearing();
    bench.engine.place("web", Some(address));
    let starter = Arc::clone(&heard);
    let app = std::thread::spawn(move || {
        until("third try", || starter.lock().unwrap().iter().find(|line| line.starts_with("try 3:")).cloned());
        WebhookReceiver::on(TcpListener::bind(address).unwrap(), |_| Answer::new(200, "ok"))
    });
    let healthy = bench.ask("health_wait", json!({"container": "web", "path": "/"})).await.unwrap();
    assert!(healthy["attempts"].as_u64().unwrap() > 3, "{healthy}");
    assert_eq!(healthy["status"], 200);
    assert_eq!(heard.lock().unwrap()[0], "try 1: connection refused");
    drop(app.join());
}

#[tokio::test]
async fn a_ready_app_costs_one_try() {
    let server = WebhookReceiver::start();
    let bench = Bench::new();
    bench.engine.place("web", Some(server.address));
    let healthy = bench.ask("health_wait", json!({"container": "web", "port": 5000})).await.unwrap();
    assert_eq!(healthy["attempts"], 1);
    let tcp = bench.ask("health_wait", json!({"tcp": server.address.to_string()})).await.unwrap();
    assert_eq!(tcp["attempts"], 1);
    let url = bench.ask("health_wait", json!({"url": server.url("/")})).await.unwrap();
    assert_eq!(url["status"], 200);
}

#[tokio::test]
async fn the_last_answer_and_the_log_come_with_the_error() {
    let server = WebhookReceiver::answering(|request| match request.path.as_str() {
        "/500" => Answer::new(500, "boom"),
        "/redirect" => Answer::new(302, "").header("Location", "/login"),
        _ => Answer::new(200, r#"{"status": "starting"}"#),
    });
    let bench = Bench::new();
    bench.engine.place("web", Some(server.address));
    bench.engine.log("web", (1..=30).map(|number| format!("line {number}")));
    let wait = |extra: serde_json::Value| {
        let mut args = json!({"container": "web", "timeout": "200ms"});
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        bench.refused("health_wait", args)
    };
    let error = wait(json!({"path": "/500"})).await;
    assert_eq!(error.kind, ErrorKind::Unhealthy);
    assert_eq!(error.message, "`web` was not healthy within 200ms; last answer: 500 Internal Server Error");
    let detail = error.detail.unwrap();
    assert!(detail.starts_with("line 11\n") && detail.ends_with("line 30"), "{detail}");

    let error = wait(json!({"path": "/redirect"})).await;
    assert!(error.message.ends_with("last answer: 302 Found to `/login`"), "{error}");
    assert!(error.hint.unwrap().contains("not followed"));
    let redirect = bench.ask("health_wait", json!({"container": "web", "path": "/redirect", "status": [302]})).await;
    assert_eq!(redirect.unwrap()["status"], 302);

    let error = wait(json!({"path": "/", "json": {"status": "ok"}})).await;
    assert!(error.message.ends_with(r#"last answer: field `status` is "starting", not "ok""#), "{error}");
    let error = wait(json!({"path": "/", "body": "ready"})).await;
    assert!(error.message.ends_with("last answer: the body lacks `ready`"), "{error}");
    bench.ask("health_wait", json!({"container": "web", "path": "/", "body": "start"})).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_ends_the_try_not_the_wait() {
    let server = WebhookReceiver::answering(|request| {
        Answer::new(200, "ok").delay(Duration::from_millis(if request.number == 1 { 2000 } else { 0 }))
    });
    let args = json!({"url": server.url("/"), "request_timeout": "50ms"});
    let healthy = Bench::new().ask("health_wait", args).await.unwrap();
    assert!(healthy["attempts"].as_u64().unwrap() >= 2, "{healthy}");
}

#[tokio::test]
async fn successes_count_in_a_row() {
    let server = WebhookReceiver::answering(|request| {
        Answer::new(if [1, 2, 4, 5, 6].contains(&request.number) { 200 } else { 500 }, "")
    });
    let args = json!({"url": server.url("/"), "successes": 3, "interval": "5ms"});
    assert_eq!(Bench::new().ask("health_wait", args).await.unwrap()["attempts"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_ends_the_wait_at_once() {
    let (address, listener) = closed_port();
    drop(listener);
    for (path, change, says) in [
        (Some("/"), "exit", "container `web` ended with exit code 3 while it was waited for"),
        (None, "exit", "container `web` ended with exit code 3 while it was waited for"),
        (Some("/"), "oom", "container `web` ran out of memory and was killed (exit code 137)"),
        (Some("/"), "loop", "container `web` keeps ending with exit code 1 and being restarted"),
        (Some("/"), "gone", "container `web` was removed while it was waited for"),
    ] {
        let mut bench = Bench::new();
        let heard = bench.hearing();
        bench.engine.place("web", Some(address));
        bench.engine.log("web", ["Traceback".to_owned()]);
        let engine = Arc::clone(&bench.engine);
        let killer = std::thread::spawn(move || {
            until("first try", || heard.lock().unwrap().first().cloned());
            match change {
                "gone" => engine.remove("web"),
                "exit" => engine.die("web", 3),
                "oom" => {
                    engine.change("web", |container| container.oom_killed = true);
                    engine.die("web", 137);
                }
                _ => engine.change("web", |container| {
                    container.exit_code = Some(1);
                    container.state = ContainerState::Restarting;
                }),
            }
            Instant::now()
        });
        let error = bench.refused("health_wait", json!({"container": "web", "path": path, "steady": "30s"})).await;
        let late = killer.join().unwrap().elapsed();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::ContainerDied, says));
        assert!(late < Duration::from_millis(900), "{change}: {late:?}");
        assert_eq!(error.detail.as_deref(), (change != "gone").then_some("Traceback"), "{change}");
    }
}

#[tokio::test]
async fn a_container_that_never_was_is_not_found() {
    let error = Bench::new().refused("health_wait", json!({"container": "web", "path": "/"})).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, "container `web` does not exist"));
    let error = Bench::new().refused("health_wait", json!({})).await;
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn another_servers_answer_does_not_make_a_dead_container_healthy() {
    let server = WebhookReceiver::start();
    let bench = Bench::new();
    bench.engine.place("web", Some(server.address));
    bench.engine.die("web", 1);
    let error = bench.refused("health_wait", json!({"container": "web", "url": server.url("/")})).await;
    assert_eq!(error.kind, ErrorKind::ContainerDied);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_own_health_check_counts() {
    let mut bench = Bench::new();
    let heard = bench.hearing();
    bench.engine.place("web", None);
    bench.engine.change("web", |container| container.health = Some("starting".into()));
    let engine = Arc::clone(&bench.engine);
    let doctor = std::thread::spawn(move || {
        until("first look", || heard.lock().unwrap().first().cloned());
        engine.change("web", |container| container.health = Some("healthy".into()));
    });
    bench.ask("health_wait", json!({"container": "web"})).await.unwrap();
    doctor.join().unwrap();
    bench.engine.change("web", |container| container.health = Some("unhealthy".into()));
    let error = bench.refused("health_wait", json!({"container": "web"})).await;
    assert_eq!(error.kind, ErrorKind::Unhealthy);
}

#[tokio::test]
async fn without_a_check_it_must_run_for_a_while() {
    let bench = Bench::new();
    bench.engine.place("web", None);
    let healthy = bench.ask("health_wait", json!({"container": "web", "steady": "120ms"})).await.unwrap();
    let waited = healthy["waited_ms"].as_u64().unwrap();
    assert!((120..1000).contains(&waited), "{waited}");
    bench.engine.change("web", |container| container.state = ContainerState::Created);
    let error = bench.refused("health_wait", json!({"container": "web", "timeout": "60ms"})).await;
    assert!(error.message.ends_with("last answer: the container is created"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_wait_at_once() {
    let server = WebhookReceiver::answering(|_| Answer::new(500, ""));
    let bench = Bench::new();
    let cancel = bench.call.cancel.clone();
    let address = server.url("/");
    let canceller = std::thread::spawn(move || {
        until("first request", || server.received().first().cloned());
        cancel.cancel();
        Instant::now()
    });
    let error = bench.refused("health_wait", json!({"url": address})).await;
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(canceller.join().unwrap().elapsed() < Duration::from_millis(500));
}
