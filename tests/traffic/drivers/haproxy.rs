//! HAProxy: targets are the servers of a backend, set through the runtime socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use deployer::effect::{Applied, ErrorKind};
use nix::sys::signal::Signal;
use serde_json::json;

use super::fixture::{DriverFixture, step};
use crate::support::async_http::{get, send};
use crate::support::deadline::until;
use crate::support::route_program::{Kind, TIMEOUT};
use crate::support::target::TestTarget;

fn admin_command(fixture: &DriverFixture, command: &str) -> String {
    let mut answer = String::new();
    // A process that is being replaced may close the connection.
    if let Ok(mut stream) = UnixStream::connect(fixture.program.path("admin.sock")) {
        let _ = stream.write_all(format!("{command}\n").as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_targets_and_fails_no_request() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Haproxy, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    for to in ["green", "blue"] {
        fixture.switch(to).await;
        let process =
            || admin_command(&fixture, "show info").lines().find(|line| line.starts_with("Pid:")).map(str::to_owned);
        let before = process();
        fixture.program.signal(Signal::SIGUSR2);
        until("the new process", TIMEOUT, || process().filter(|now| Some(now) != before.as_ref()));
        for _ in 0..50 {
            assert_eq!(fixture.answer().await, to);
        }
        let shown = fixture.show().await;
        let weight = |at: usize| shown["targets"][at]["weight"].as_u64().unwrap();
        assert_eq!((weight(0), weight(1)), if to == "blue" { (1, 0) } else { (0, 1) });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_change_is_seen_and_reset() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Haproxy, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let states = admin_command(&fixture, "show servers state web");
    let green_port = format!(" {} ", green.address.port());
    let slot = states.lines().find(|line| line.contains(&green_port)).unwrap().split(' ').nth(3).unwrap().to_owned();
    admin_command(&fixture, &format!("set server web/{slot} weight 7"));
    assert_eq!(fixture.weights().await[1].1, 7);
    fixture.set(&[("blue", &blue, 1), ("green", &green, 0)]).await.unwrap();
    assert_eq!(fixture.weights().await[1].1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_limits_the_number_of_targets() {
    let target = TestTarget::start("blue").await;
    let fixture = DriverFixture::serving(Kind::Haproxy, &[("blue", &target, 1)]).await;
    let too_many: Vec<_> =
        (1..=9).map(|number| json!({"name": format!("t{number}"), "address": format!("127.0.0.1:{number}")})).collect();
    let error = fixture.refused("traffic_set", json!({"service": "web", "targets": too_many})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error}");
    let named = json!({"service": "web", "targets": [{"name": "a", "address": "localhost:80"}]});
    assert_eq!(fixture.kind_of_refusal("traffic_set", named).await, ErrorKind::Invalid);
    assert_eq!(fixture.answer().await, "blue");
    // A missing backend, and one that belongs to another service.
    let mut other = fixture.route();
    other["service"] = json!("shop");
    assert_eq!(fixture.kind_of_refusal("traffic_route", other.clone()).await, ErrorKind::NotFound);
    other["driver"]["backend"] = json!("web");
    assert_eq!(fixture.kind_of_refusal("traffic_route", other).await, ErrorKind::Conflict);
    // Forgetting the route leaves nothing behind.
    fixture.forget().await;
    assert!(!fixture.program.path("servers.state.web.deployer").exists());
    assert_eq!(send(fixture.address(), get("/")).await.unwrap().status, 503);
    let states = admin_command(&fixture, "show servers state web");
    let in_use = states.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).filter(|line| {
        line.split(' ').nth(6).is_some_and(|admin| admin.parse::<u32>().is_ok_and(|admin| admin & 1 == 0))
    });
    assert_eq!(in_use.count(), 0, "{states}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_end_in_time_is_cut() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Haproxy, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let address = fixture.address();
    let before = blue.requests();
    let endless = tokio::spawn(async move { send(address, get("/slow?60000")).await });
    while blue.requests() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.switch("green").await;
    assert_eq!(fixture.drain("blue", "200ms").await["requests_cut"], 1);
    let ended = tokio::time::timeout(Duration::from_secs(5), endless).await.unwrap().unwrap();
    assert!(ended.is_err() || ended.unwrap().status.is_server_error());
    assert_eq!(fixture.show().await["targets"][0]["in_flight"], 0);
    fixture.done("traffic_set", step(&[("green", &green, 1)])).await;
}
