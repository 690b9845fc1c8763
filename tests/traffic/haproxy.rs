//! HAProxy: targets in the servers of a backend, through the runtime socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use deployer::effect::{Applied, ErrorKind};
use nix::sys::signal::Signal;
use serde_json::json;

use super::deadline::until;
use super::program::{Kind, PATIENCE};
use super::rig::{Rig, step};
use super::target::TestTarget;
use super::visit::{get, visit};

fn by_hand(rig: &Rig, command: &str) -> String {
    let mut answer = String::new();
    // A process that is just being replaced may hang up.
    if let Ok(mut stream) = UnixStream::connect(rig.program.path("admin.sock")) {
        let _ = stream.write_all(format!("{command}\n").as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_targets_and_fails_nobody() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Haproxy, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    for to in ["green", "blue"] {
        rig.switch(to).await;
        let process = || by_hand(&rig, "show info").lines().find(|line| line.starts_with("Pid:")).map(str::to_owned);
        let before = process();
        rig.program.signal(Signal::SIGUSR2);
        until("the new process", PATIENCE, || process().filter(|now| Some(now) != before.as_ref()));
        for _ in 0..50 {
            assert_eq!(rig.answer().await, to);
        }
        let shown = rig.show().await;
        let weight = |at: usize| shown["targets"][at]["weight"].as_u64().unwrap();
        assert_eq!((weight(0), weight(1)), if to == "blue" { (1, 0) } else { (0, 1) });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_by_hand_is_seen_and_set_again() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Haproxy, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let states = by_hand(&rig, "show servers state web");
    let of_green = format!(" {} ", green.address.port());
    let slot = states.lines().find(|line| line.contains(&of_green)).unwrap().split(' ').nth(3).unwrap().to_owned();
    by_hand(&rig, &format!("set server web/{slot} weight 7"));
    assert_eq!(rig.weights().await[1].1, 7);
    rig.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    assert_eq!(rig.weights().await[1].1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_as_many_places_as_the_backend_has_servers() {
    let target = TestTarget::start("blue").await;
    let rig = Rig::serving(Kind::Haproxy, &[("blue", &target, 1)]).await;
    let many: Vec<_> =
        (1..=9).map(|number| json!({"name": format!("t{number}"), "address": format!("127.0.0.1:{number}")})).collect();
    let error = rig.refused("traffic_set", json!({"service": "web", "targets": many})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error}");
    let named = json!({"service": "web", "targets": [{"name": "a", "address": "localhost:80"}]});
    assert_eq!(rig.kind_of_refusal("traffic_set", named).await, ErrorKind::Invalid);
    assert_eq!(rig.answer().await, "blue");
    // A backend that is not there, and one that belongs to somebody else.
    let mut other = rig.route();
    other["service"] = json!("shop");
    assert_eq!(rig.kind_of_refusal("traffic_route", other.clone()).await, ErrorKind::NotFound);
    other["driver"]["backend"] = json!("web");
    assert_eq!(rig.kind_of_refusal("traffic_route", other).await, ErrorKind::Conflict);
    // Nothing stays behind.
    rig.forget().await;
    assert!(!rig.program.path("servers.state.web.deployer").exists());
    assert_eq!(visit(rig.address(), get("/")).await.unwrap().status, 503);
    let states = by_hand(&rig, "show servers state web");
    let in_use = states.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).filter(|line| {
        line.split(' ').nth(6).is_some_and(|admin| admin.parse::<u32>().is_ok_and(|admin| admin & 1 == 0))
    });
    assert_eq!(in_use.count(), 0, "{states}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_shut_down() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Haproxy, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let address = rig.address();
    let before = blue.requests();
    let endless = tokio::spawn(async move { visit(address, get("/slow?60000")).await });
    while blue.requests() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.switch("green").await;
    assert_eq!(rig.drain("blue", "200ms").await["requests_cut"], 1);
    let ended = tokio::time::timeout(Duration::from_secs(5), endless).await.unwrap().unwrap();
    assert!(ended.is_err() || ended.unwrap().status.is_server_error());
    assert_eq!(rig.show().await["targets"][0]["in_flight"], 0);
    rig.done("traffic_set", step(&[("green", &green, 1)])).await;
}
