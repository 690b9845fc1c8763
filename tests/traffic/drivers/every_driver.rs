//! Tests that every driver must pass.

use std::time::Duration;

use deployer::effect::ErrorKind;
use serde_json::json;

use super::fixture::{DriverFixture, services, step};
use crate::support::async_http::{EchoStream, get, post, request, send};
use crate::support::route_program::Kind;
use crate::support::target::TestTarget;

const PROBE: [(&str, &str); 1] = [("x-deployer-probe", "1")];

async fn blue_and_green() -> (TestTarget, TestTarget) {
    (TestTarget::start("blue").await, TestTarget::start("green").await)
}

async fn sets_weights_and_switches(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let fixture = DriverFixture::start(kind);
    // A route without targets answers 503 at once.
    let declared = fixture.done("traffic_route", fixture.route()).await;
    assert_eq!(declared["targets"], json!([]));
    assert_eq!(send(fixture.address(), get("/")).await.unwrap().status, 503);
    fixture.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    assert_eq!(fixture.answer().await, "blue");
    let mut stream = EchoStream::open(fixture.address()).await.unwrap();
    stream.say("through the program").await.unwrap();
    let posted = send(fixture.address(), post("/", vec![b'x'; 100_000])).await.unwrap();
    assert_eq!(posted.text, "blue 100000");
    let head = send(fixture.address(), get("/head")).await.unwrap().text;
    assert!(head.contains("host: example.com") && head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
    // Setting the same targets again changes nothing.
    fixture.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    assert_eq!(fixture.switch("green").await["targets"][1]["weight"], 1);
    assert_eq!(fixture.answer().await, "green");
    // Weights.
    fixture.set(&[("blue", &blue, 3), ("green", &green, 1)]).await.unwrap();
    let mut blues = 0;
    for _ in 0..80 {
        blues += usize::from(fixture.answer().await == "blue");
    }
    assert!((55..=65).contains(&blues), "{blues} of 80, expected about 60");
    assert_eq!(fixture.weights().await, [("blue".to_owned(), 3), ("green".to_owned(), 1)]);
    // The list shows which containers a route refers to.
    let listed = fixture.done("traffic_list", json!({})).await;
    assert_eq!(listed[0]["view"]["targets"][0]["name"], "blue");
    fixture.forget().await;
    assert_eq!(fixture.kind_of_refusal("traffic_show", json!({"service": "web"})).await, ErrorKind::NotFound);
}

async fn drains_requests_in_flight(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let fixture = DriverFixture::serving(kind, &[("blue", &blue, 1), ("green", &green, 1)]).await;
    fixture.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    let args = json!({"service": "web", "target": "blue"});
    assert_eq!(fixture.kind_of_refusal("traffic_drain", args).await, ErrorKind::Conflict);
    // A drain waits for requests in flight.
    let address = fixture.address();
    let before = blue.requests();
    let slow = tokio::spawn(async move { send(address, get("/slow?1500")).await.unwrap().text });
    while blue.requests() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.switch("green").await;
    let drained = fixture.drain("blue", "10s").await;
    assert_eq!(drained["requests_cut"], 0);
    assert_eq!(slow.await.unwrap(), "blue");
    assert_eq!(fixture.show().await["targets"][0]["draining"], true);
    assert_eq!(fixture.answer().await, "green");
    // A request that does not end is counted at the deadline.
    fixture.switch("blue").await;
    let before = blue.requests();
    let endless = tokio::spawn(async move { send(address, get("/slow?60000")).await.map(drop) });
    while blue.requests() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(fixture.show().await["targets"][0]["in_flight"].as_u64().unwrap() >= 1);
    fixture.switch("green").await;
    let drained = fixture.drain("blue", "300ms").await;
    assert_eq!(drained["requests_cut"], 1);
    endless.abort();
}

/// An older run and unsupported requests are refused, and only a probe gets the headers of deployer.
async fn refuses_older_runs_and_unsupported_requests(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let fixture = DriverFixture::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    fixture.switch("blue").await;
    let switch = json!({"service": "web", "target": "green"});
    let old = fixture.ask_as(Some(1), "traffic_switch", switch.clone()).await.unwrap_err();
    assert_eq!((old.kind, old.applied), (ErrorKind::Conflict, deployer::effect::Applied::No), "{old}");
    assert_eq!(fixture.answer().await, "blue");
    // A change by hand, without a lock, and then one by the run.
    fixture.ask_as(None, "traffic_switch", switch).await.unwrap();
    assert_eq!(fixture.answer().await, "green");
    fixture.switch("blue").await;
    let of_web = json!({"service": "web"});
    for (kind, args) in [
        ("traffic_hold", of_web.clone()),
        ("traffic_release", of_web.clone()),
        ("traffic_mirror", json!({"service": "web", "address": "127.0.0.1:1"})),
        ("traffic_stats", of_web.clone()),
        ("traffic_set", json!({"sticky": true})),
        ("traffic_set", json!({"canary": {"target": "green", "by": "header", "name": "x-canary"}})),
    ] {
        let mut request_args = step(&[("blue", &blue, 1), ("green", &green, 1)]);
        if kind == "traffic_set" {
            request_args.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
        } else {
            request_args = args;
        }
        assert_eq!(fixture.kind_of_refusal(kind, request_args).await, ErrorKind::Unsupported, "{kind}");
    }
    assert_eq!(fixture.answer().await, "blue");
    let plain = send(fixture.address(), get("/")).await.unwrap();
    assert!(!plain.headers.keys().any(|name| name.as_str().starts_with("x-deployer")), "{:?}", plain.headers);
    let probed = send(fixture.address(), request(http::Method::GET, "/", &PROBE, bytes::Bytes::new())).await.unwrap();
    let shown = probed.headers.get("x-deployer-target").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(shown, (fixture.program.kind != Kind::Haproxy).then(|| blue.address.to_string()));
}

/// A run is killed between the start of a switch and its check; the next run repeats the switch.
async fn survives_a_killed_run(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let fixture = DriverFixture::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    for after_ms in [0, 2, 8, 32] {
        for to in ["green", "blue"] {
            let switch = fixture.ask("traffic_switch", json!({"service": "web", "target": to}));
            drop(tokio::time::timeout(Duration::from_millis(after_ms), switch).await);
            // The route stays readable in between.
            assert_eq!(fixture.show().await["targets"].as_array().unwrap().len(), 2);
            fixture.switch(to).await;
            assert_eq!(fixture.answer().await, to);
        }
    }
    fixture.forget().await;
    fixture.done("traffic_route", fixture.route()).await;
}

/// The program is killed and restarted: it keeps its route.
async fn keeps_its_route_after_a_crash(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let mut fixture = DriverFixture::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    fixture.switch("green").await;
    if kind == Kind::Caddy {
        // Caddy saves its configuration a moment after it takes effect.
        let saved = fixture.program.path("caddy/autosave.json");
        let green_address = green.address.to_string();
        crate::support::deadline::until("the saved configuration", crate::support::route_program::TIMEOUT, || {
            let text = std::fs::read_to_string(&saved).unwrap_or_default();
            let (live, green) = (text.rfind("round_robin")?, text.rfind(&green_address)?);
            (green > live).then_some(())
        });
    }
    fixture.program.crash_and_start();
    assert_eq!(fixture.weights().await, [("blue".to_owned(), 0), ("green".to_owned(), 1)]);
    let (address, begun) = (fixture.address(), std::time::Instant::now());
    while send(address, get("/")).await.is_err() {
        assert!(begun.elapsed() < crate::support::route_program::TIMEOUT);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fixture.answer().await, "green");
    let old = fixture.ask_as(Some(1), "traffic_switch", json!({"service": "web", "target": "blue"})).await;
    assert_eq!(old.unwrap_err().kind, ErrorKind::Conflict);
    fixture.switch("blue").await;
    assert_eq!(fixture.answer().await, "blue");
}

/// The program does not run.
async fn reports_a_stopped_program(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let mut fixture = DriverFixture::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    fixture.program.kill();
    let error = fixture.refused("traffic_switch", json!({"service": "web", "target": "green"})).await;
    let due = if kind == Kind::Nginx { ErrorKind::Failed } else { ErrorKind::Unavailable };
    assert_eq!(error.kind, due, "{error} {:?}", error.detail);
    assert!(error.hint.is_some());
    // Another deployer with the same engine continues once the program is back.
    fixture.program.crash_and_start();
    let other = services(&fixture.engine);
    drop(other);
    fixture.switch("green").await;
    assert_eq!(fixture.answer().await, "green");
}

/// The program is removed permanently.
async fn route_of_a_removed_program_can_be_forgotten(kind: Kind) {
    let (blue, green) = blue_and_green().await;
    let mut fixture = DriverFixture::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let driver_gone = json!({"service": "web", "driver_gone": true});
    let old = fixture.ask_as(Some(0), "traffic_forget", driver_gone.clone()).await;
    assert_eq!(old.unwrap_err().kind, ErrorKind::Conflict, "an older run is still refused");
    fixture.program.kill();
    fixture.refused("traffic_forget", json!({"service": "web"})).await;
    assert_eq!(fixture.engine.routes.lock().unwrap().len(), 1);
    assert_eq!(fixture.done("traffic_forget", driver_gone.clone()).await["removed"], true);
    assert!(fixture.engine.routes.lock().unwrap().is_empty());
    assert_eq!(fixture.done("traffic_forget", driver_gone).await["removed"], false);
}

async fn passes_no_other_protocol_than_websocket(kind: Kind) {
    let (blue, _green) = blue_and_green().await;
    let fixture = DriverFixture::serving(kind, &[("blue", &blue, 1)]).await;
    fixture.answer().await;
    let request = "GET /head HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let head =
        crate::support::async_http::send_raw(fixture.address(), request.as_bytes(), Duration::from_secs(3)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("upgrade: h2c"), "{head}");
}

macro_rules! for_each_driver {
    ($($what:ident),*) => {
        mod nginx {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $what() {
                super::$what(super::Kind::Nginx).await;
            })*
        }
        mod haproxy {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $what() {
                super::$what(super::Kind::Haproxy).await;
            })*
        }
        mod caddy {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $what() {
                super::$what(super::Kind::Caddy).await;
            })*
        }
    };
}

for_each_driver!(
    sets_weights_and_switches,
    drains_requests_in_flight,
    refuses_older_runs_and_unsupported_requests,
    survives_a_killed_run,
    keeps_its_route_after_a_crash,
    reports_a_stopped_program,
    route_of_a_removed_program_can_be_forgotten,
    passes_no_other_protocol_than_websocket
);
