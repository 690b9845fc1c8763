use std::sync::Mutex;
use std::time::{Duration, Instant};

use deployer::effect::ErrorKind;
use deployer::effect::load::LoadReport;
use serde_json::{Value, json};

use super::{Fixture, SECRET};
use crate::support::webhook_receiver::{WebhookReceiver, WebhookReply};

async fn load(args: Value) -> LoadReport {
    let reply = Fixture::new().ask("load_test", args).await.unwrap();
    serde_json::from_value(reply).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_the_planned_requests_with_secrets_filled_in() {
    let server =
        WebhookReceiver::answering(|request| WebhookReply::new(if request.number % 10 == 0 { 503 } else { 200 }, "x"));
    let token = json!({"secret_text": ["Bearer ", {"secret": "TOKEN"}]});
    let report = load(json!({
        "url": server.url("/x"), "method": "post", "body": "hello", "headers": {"Authorization": token},
        "rate": 100, "duration": "1s",
    }))
    .await;
    assert_eq!((report.planned, report.sent, report.answered), (100, 100, 100), "{report:?}");
    assert_eq!((report.failed, report.unexpected, report.error_rate), (10, 10, 0.1), "{report:?}");
    assert_eq!((report.statuses["2xx"], report.statuses["5xx"]), (90, 10));
    assert!((50.0..101.0).contains(&report.rate), "{report:?}");
    let received = server.received();
    assert_eq!(received.len(), 100);
    assert!(received.iter().all(|request| request.method == "POST" && request.body == "hello"));
    assert!(received.iter().all(|request| request.headers["authorization"] == format!("Bearer {SECRET}")));
}

/// A closed loop with one connection would report only one slow request of 120.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_counts_for_all_delayed_requests() {
    let stalled = Mutex::new(());
    let server = WebhookReceiver::answering(move |request| {
        let _one_at_a_time = stalled.lock().unwrap();
        if request.number == 20 {
            std::thread::sleep(Duration::from_secs(1));
        }
        WebhookReply::new(200, "ok")
    });
    let report = load(json!({"url": server.url("/"), "rate": 60, "duration": "2s", "connections": 4})).await;
    assert_eq!((report.planned, report.answered, report.failed), (120, 120, 0), "{report:?}");
    assert!(report.latency.p99_ms > 800.0, "{report:?}");
    // The 60 of 120 requests that were due in that second waited half a second on average.
    assert!(report.latency.p90_ms > 400.0, "{report:?}");
    assert!(report.late > 30, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_leaves_requests_unsent() {
    let server = WebhookReceiver::answering(|_| WebhookReply::new(200, "ok").delay(Duration::from_secs(3)));
    let began = Instant::now();
    let args = json!({
        "url": server.url("/"), "rate": 20, "duration": "500ms", "timeout": "300ms", "connections": 2,
    });
    let report = load(args).await;
    assert_eq!((report.planned, report.answered, report.failed), (10, 0, 10), "{report:?}");
    assert!(report.errors.timeout >= 2 && report.errors.unsent >= 1, "{report:?}");
    assert_eq!(report.sent + report.errors.unsent, 10, "{report:?}");
    assert!(report.latency.max_ms >= 300.0, "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connections_are_counted_not_an_error() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = load(json!({"url": format!("http://{closed}/"), "rate": 50, "duration": "200ms"})).await;
    assert_eq!((report.errors.connect, report.failed, report.error_rate), (10, 10, 1.0), "{report:?}");
    assert_eq!(report.latency.p99_ms, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_at_once_when_cancelled() {
    let server = WebhookReceiver::start();
    let fixture = Fixture::new();
    let cancel = fixture.call.cancel.clone();
    let began = Instant::now();
    let url = server.url("/");
    let soon = async {
        while server.received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(fixture.ask("load_test", json!({"url": url, "rate": 20, "duration": "1h"})), soon);
    assert_eq!(ended.unwrap_err().kind, ErrorKind::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn options_out_of_range_are_refused() {
    let fixture = Fixture::new();
    for wrong in [
        json!({"rate": 0}),
        json!({"rate": -1}),
        json!({"rate": 10_001}),
        json!({"duration": "0s"}),
        json!({"duration": "61m"}),
        json!({"connections": 0}),
        json!({"connections": 1001}),
        json!({"timeout": "6m"}),
        json!({"method": "G E T"}),
        json!({"headers": {"X A": "1"}}),
        json!({"url": "ftp://127.0.0.1/"}),
    ] {
        let mut args = json!({"url": "http://127.0.0.1:1/", "duration": "1s"});
        args.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let error = fixture.refused("load_test", args).await;
        assert_eq!(error.kind, ErrorKind::Invalid, "{wrong}: {error}");
    }
}
