//! Requests that wait while an app is replaced; targets that are waited for before they are stopped.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::proxy::command::{Command, RefusalKind, Reply};
use http::StatusCode;
use tokio::task::JoinSet;

use super::rig::{Rig, step};
use super::target::TestTarget;
use super::visit::{Echo, Visited, get, post, second, second_get, visit, whole};

async fn hold(rig: &Rig, max_requests: u64, max_wait: Duration) {
    let (epoch, service) = (rig.next_epoch(), "web".to_owned());
    rig.done(Command::Hold { epoch, service, max_requests, max_wait: DurationText(max_wait) }).await;
}

async fn waiting(rig: &Rig, count: u64) {
    let begun = std::time::Instant::now();
    while rig.show().await[0].held != Some(count) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} wait", rig.show().await[0].held);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn visitors(address: SocketAddr, count: usize) -> JoinSet<Visited> {
    (0..count).map(|_| async move { visit(address, post("/", "row")).await.unwrap() }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_writer_is_replaced_and_no_post_is_lost_or_doubled() {
    let rig = Rig::start(&[]).await;
    let old = TestTarget::start("old").await;
    let address = old.address;
    rig.serve(&[("db", address, 1)]).await;
    let mut posts = visitors(rig.address, 20);
    while let Some(visited) = posts.join_next().await {
        assert_eq!(visited.unwrap().text, "old 3");
    }
    hold(&rig, 1_000, Duration::from_secs(20)).await;
    let drained = rig.drain("db", Duration::from_secs(5)).await;
    assert_eq!(drained.requests_cut, 0);
    let mut posts = visitors(rig.address, 50);
    waiting(&rig, 50).await;
    assert_eq!(old.seen.posts.load(Ordering::SeqCst), 20);
    old.die().await;
    let new = TestTarget::start_at("new", address).await;
    let Reply::Released(released) =
        rig.done(Command::Release { epoch: rig.next_epoch(), service: "web".to_owned() }).await
    else {
        panic!("no release")
    };
    assert_eq!((released.waiting, released.turned_away), (50, 0));
    while let Some(visited) = posts.join_next().await {
        assert_eq!(visited.unwrap().text, "new 3");
    }
    assert_eq!(new.seen.posts.load(Ordering::SeqCst), 50);
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "new", "and it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_bounded_in_number_and_in_time() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    hold(&rig, 2, Duration::from_secs(2)).await;
    let mut posts = visitors(rig.address, 2);
    waiting(&rig, 2).await;
    let third = visit(rig.address, get("/")).await.unwrap();
    assert_eq!((third.status, third.headers["retry-after"].as_bytes()), (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..]));
    while let Some(visited) = posts.join_next().await {
        assert_eq!(visited.unwrap().status, StatusCode::SERVICE_UNAVAILABLE, "it took too long");
    }
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "blue", "whoever held it may be dead: it is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_and_then_cuts_and_counts() {
    let rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address = rig.address;
    let quick = tokio::spawn(async move { visit(address, get("/slow?300")).await });
    let slow: Vec<_> =
        (0..3).map(|_| tokio::spawn(async move { visit(address, post("/slow?20000", "x")).await })).collect();
    let mut echo = Echo::open(rig.address).await.unwrap();
    echo.say("hello").await.unwrap();
    while rig.show().await[0].targets[0].in_flight < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let only = Command::Drain {
        epoch: rig.next_epoch(),
        service: "web".to_owned(),
        target: "old".to_owned(),
        deadline: DurationText::secs(1),
        streams_deadline: Some(DurationText::secs(2)),
    };
    assert_eq!(rig.ask(only.clone()).await.unwrap_err().kind, RefusalKind::Conflict, "it is the live one");
    rig.switch("new").await;
    let Command::Drain { service, target, deadline, streams_deadline, .. } = only else { unreachable!() };
    let drain = Command::Drain { epoch: rig.next_epoch(), service, target, deadline, streams_deadline };
    let Reply::Drained(drained) = rig.done(drain).await else { panic!("no drain") };
    assert_eq!((drained.requests_cut, drained.streams_cut), (3, 1));
    assert!((2_000..4_000).contains(&drained.waited_ms), "{drained:?}");
    assert_eq!(quick.await.unwrap().unwrap().text, "old");
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap().status, StatusCode::BAD_GATEWAY);
    }
    assert!(echo.ended().await);
    let stats = rig.stats().await;
    assert_eq!((stats.targets["old"].errors.cut, stats.targets["old"].in_flight), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_counts_http2_and_ends_when_the_last_one_has() {
    let rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let sender = second(rig.address).await;
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move { whole(sender.send_request(second_get("/slow?1000")).await.unwrap()).await })
        })
        .collect();
    while rig.show().await[0].targets[0].in_flight < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.switch("new").await;
    let drained = rig.drain("old", Duration::from_secs(20)).await;
    assert_eq!(drained.requests_cut, 0);
    assert!(drained.waited_ms < 3_000, "{drained:?}");
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap().text, "old");
    }
    let again = step(&[("old", old.address, 1), ("new", new.address, 1)]);
    rig.step(again).await;
    assert!(!rig.show().await[0].targets[0].draining, "a new step ends it");
}
