//! What holds for each of the three.

use std::time::Duration;

use deployer::effect::ErrorKind;
use serde_json::json;

use super::program::Kind;
use super::rig::{Rig, services, step};
use super::target::TestTarget;
use super::visit::{Echo, get, post, request, visit};

const PROBE: [(&str, &str); 1] = [("x-deployer-probe", "1")];

async fn pair() -> (TestTarget, TestTarget) {
    (TestTarget::start("blue").await, TestTarget::start("green").await)
}

async fn steers(kind: Kind) {
    let (blue, green) = pair().await;
    let rig = Rig::start(kind);
    // A route without targets turns visitors away, and does not hang.
    let declared = rig.done("traffic_route", rig.route()).await;
    assert_eq!(declared["targets"], json!([]));
    assert_eq!(visit(rig.address(), get("/")).await.unwrap().status, 503);
    rig.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    assert_eq!(rig.answer().await, "blue");
    let mut stream = Echo::open(rig.address()).await.unwrap();
    stream.say("through the program").await.unwrap();
    let posted = visit(rig.address(), post("/", vec![b'x'; 100_000])).await.unwrap();
    assert_eq!(posted.text, "blue 100000");
    let head = visit(rig.address(), get("/head")).await.unwrap().text;
    assert!(head.contains("host: example.com") && head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
    // The same again is no change.
    rig.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    assert_eq!(rig.switch("green").await["targets"][1]["weight"], 1);
    assert_eq!(rig.answer().await, "green");
    // Shares.
    rig.set(&[("blue", &blue, 3), ("green", &green, 1)]).await.unwrap();
    let mut blues = 0;
    for _ in 0..80 {
        blues += usize::from(rig.answer().await == "blue");
    }
    assert!((55..=65).contains(&blues), "{blues} of 80 where 60 are due");
    assert_eq!(rig.weights().await, [("blue".to_owned(), 3), ("green".to_owned(), 1)]);
    // Whoever tries to take away a target that a route refers to is told.
    let listed = rig.done("traffic_list", json!({})).await;
    assert_eq!(listed[0]["view"]["targets"][0]["name"], "blue");
    rig.forget().await;
    assert_eq!(rig.kind_of_refusal("traffic_show", json!({"service": "web"})).await, ErrorKind::NotFound);
}

async fn drains(kind: Kind) {
    let (blue, green) = pair().await;
    let rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 1)]).await;
    rig.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    let args = json!({"service": "web", "target": "blue"});
    assert_eq!(rig.kind_of_refusal("traffic_drain", args).await, ErrorKind::Conflict);
    // What is under way is waited for.
    let address = rig.address();
    let before = blue.requests();
    let slow = tokio::spawn(async move { visit(address, get("/slow?1500")).await.unwrap().text });
    while blue.requests() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.switch("green").await;
    let drained = rig.drain("blue", "10s").await;
    assert_eq!(drained["requests_cut"], 0);
    assert_eq!(slow.await.unwrap(), "blue");
    assert_eq!(rig.show().await["targets"][0]["draining"], true);
    assert_eq!(rig.answer().await, "green");
    // What does not end is counted at the deadline.
    rig.switch("blue").await;
    let before = blue.requests();
    let endless = tokio::spawn(async move { visit(address, get("/slow?60000")).await.map(drop) });
    while blue.requests() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(rig.show().await["targets"][0]["in_flight"].as_u64().unwrap() >= 1);
    rig.switch("green").await;
    let drained = rig.drain("blue", "300ms").await;
    assert_eq!(drained["requests_cut"], 1);
    endless.abort();
}

/// An older run, requests that only the proxy can do, and who may ask for proof.
async fn refuses(kind: Kind) {
    let (blue, green) = pair().await;
    let rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    rig.switch("blue").await;
    let switch = json!({"service": "web", "target": "green"});
    let old = rig.ask_as(Some(1), "traffic_switch", switch.clone()).await.unwrap_err();
    assert_eq!((old.kind, old.applied), (ErrorKind::Conflict, deployer::effect::Applied::No), "{old}");
    assert_eq!(rig.answer().await, "blue");
    // By hand, without a lock, and then the run again.
    rig.ask_as(None, "traffic_switch", switch).await.unwrap();
    assert_eq!(rig.answer().await, "green");
    rig.switch("blue").await;
    let of_web = json!({"service": "web"});
    for (kind, args) in [
        ("traffic_hold", of_web.clone()),
        ("traffic_release", of_web.clone()),
        ("traffic_mirror", json!({"service": "web", "address": "127.0.0.1:1"})),
        ("traffic_stats", of_web.clone()),
        ("traffic_set", json!({"sticky": true})),
        ("traffic_set", json!({"canary": {"target": "green", "by": "header", "name": "x-canary"}})),
    ] {
        let mut whole = step(&[("blue", &blue, 1), ("green", &green, 1)]);
        if kind == "traffic_set" {
            whole.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
        } else {
            whole = args;
        }
        assert_eq!(rig.kind_of_refusal(kind, whole).await, ErrorKind::Unsupported, "{kind}");
    }
    assert_eq!(rig.answer().await, "blue");
    let plain = visit(rig.address(), get("/")).await.unwrap();
    assert!(!plain.headers.keys().any(|name| name.as_str().starts_with("x-deployer")), "{:?}", plain.headers);
    let asked = visit(rig.address(), request(http::Method::GET, "/", &PROBE, bytes::Bytes::new())).await.unwrap();
    let shown = asked.headers.get("x-deployer-target").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(shown, (rig.program.kind != Kind::Haproxy).then(|| blue.address.to_string()));
}

/// A run dies somewhere between the first word and the proof; the next one does the same again.
async fn survives_being_killed(kind: Kind) {
    let (blue, green) = pair().await;
    let rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    for after_ms in [0, 2, 8, 32] {
        for to in ["green", "blue"] {
            let switch = rig.ask("traffic_switch", json!({"service": "web", "target": to}));
            drop(tokio::time::timeout(Duration::from_millis(after_ms), switch).await);
            // Whoever looks in between sees a route.
            assert_eq!(rig.show().await["targets"].as_array().unwrap().len(), 2);
            rig.switch(to).await;
            assert_eq!(rig.answer().await, to);
        }
    }
    rig.forget().await;
    rig.done("traffic_route", rig.route()).await;
}

/// The program is killed and started again: it begins with what it had.
async fn keeps_its_route(kind: Kind) {
    let (blue, green) = pair().await;
    let mut rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    rig.switch("green").await;
    if kind == Kind::Caddy {
        // It writes its configuration down a moment after it is in force.
        let saved = rig.program.path("caddy/autosave.json");
        let wanted = green.address.to_string();
        super::deadline::until("the saved configuration", super::program::PATIENCE, || {
            let text = std::fs::read_to_string(&saved).unwrap_or_default();
            let (live, green) = (text.rfind("round_robin")?, text.rfind(&wanted)?);
            (green > live).then_some(())
        });
    }
    rig.program.crash_and_start();
    assert_eq!(rig.weights().await, [("blue".to_owned(), 0), ("green".to_owned(), 1)]);
    let (address, begun) = (rig.address(), std::time::Instant::now());
    while visit(address, get("/")).await.is_err() {
        assert!(begun.elapsed() < super::program::PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.answer().await, "green");
    let old = rig.ask_as(Some(1), "traffic_switch", json!({"service": "web", "target": "blue"})).await;
    assert_eq!(old.unwrap_err().kind, ErrorKind::Conflict);
    rig.switch("blue").await;
    assert_eq!(rig.answer().await, "blue");
}

/// Nobody is there to be told.
async fn says_when_the_program_is_gone(kind: Kind) {
    let (blue, green) = pair().await;
    let mut rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    rig.program.end();
    let error = rig.refused("traffic_switch", json!({"service": "web", "target": "green"})).await;
    let due = if kind == Kind::Nginx { ErrorKind::Failed } else { ErrorKind::Unavailable };
    assert_eq!(error.kind, due, "{error} {:?}", error.detail);
    assert!(error.hint.is_some());
    // Another deployer, with the same engine, goes on when it is back.
    rig.program.crash_and_start();
    let other = services(&rig.engine);
    drop(other);
    rig.switch("green").await;
    assert_eq!(rig.answer().await, "green");
}

/// The program will never come back.
async fn is_given_up_when_the_program_is_gone(kind: Kind) {
    let (blue, green) = pair().await;
    let mut rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let give_up = json!({"service": "web", "driver_gone": true});
    let old = rig.ask_as(Some(0), "traffic_forget", give_up.clone()).await;
    assert_eq!(old.unwrap_err().kind, ErrorKind::Conflict, "an older run is refused still");
    rig.program.end();
    rig.refused("traffic_forget", json!({"service": "web"})).await;
    assert_eq!(rig.engine.routes.lock().unwrap().len(), 1);
    assert_eq!(rig.done("traffic_forget", give_up.clone()).await["removed"], true);
    assert!(rig.engine.routes.lock().unwrap().is_empty());
    assert_eq!(rig.done("traffic_forget", give_up).await["removed"], false);
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
    steers,
    drains,
    refuses,
    survives_being_killed,
    keeps_its_route,
    says_when_the_program_is_gone,
    is_given_up_when_the_program_is_gone
);
