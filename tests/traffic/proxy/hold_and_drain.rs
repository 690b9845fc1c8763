//! Holding requests while an app is replaced, and draining targets before they are stopped.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::proxy::command::{Command, CommandReply, RefusalKind};
use http::StatusCode;
use tokio::task::JoinSet;

use super::fixture::{TestProxy, step};
use crate::support::async_http::{EchoStream, HttpResponse, connect_http2, get, get_http2, post, read_response, send};
use crate::support::target::TestTarget;

async fn hold(proxy: &TestProxy, max_requests: u64, max_wait: Duration) {
    hold_until_released(proxy, max_requests, max_wait, false).await;
}

async fn hold_until_released(proxy: &TestProxy, max_requests: u64, max_wait: Duration, until_released: bool) {
    let (epoch, service, max_wait) = (proxy.next_epoch(), "web".to_owned(), DurationText(max_wait));
    proxy.done(Command::Hold { epoch, service, max_requests, max_wait, until_released }).await;
}

async fn wait_for_held(proxy: &TestProxy, count: u64) {
    let begun = std::time::Instant::now();
    while proxy.show().await[0].held != Some(count) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} wait", proxy.show().await[0].held);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn post_from_clients(address: SocketAddr, count: usize) -> JoinSet<HttpResponse> {
    (0..count).map(|_| async move { send(address, post("/", "row")).await.unwrap() }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_writer_is_replaced_without_lost_or_repeated_posts() {
    let proxy = TestProxy::start(&[]).await;
    let old = TestTarget::start("old").await;
    let address = old.address;
    proxy.serve(&[("db", address, 1)]).await;
    let mut posts = post_from_clients(proxy.address, 20);
    while let Some(response) = posts.join_next().await {
        assert_eq!(response.unwrap().text, "old 3");
    }
    hold(&proxy, 1_000, Duration::from_secs(20)).await;
    let drained = proxy.drain("db", Duration::from_secs(5)).await;
    assert_eq!(drained.requests_cut, 0);
    let mut posts = post_from_clients(proxy.address, 50);
    wait_for_held(&proxy, 50).await;
    assert_eq!(old.state.posts.load(Ordering::SeqCst), 20);
    old.kill().await;
    let new = TestTarget::start_at("new", address).await;
    let CommandReply::Released(released) =
        proxy.done(Command::Release { epoch: proxy.next_epoch(), service: "web".to_owned() }).await
    else {
        panic!("no release")
    };
    assert_eq!((released.waiting, released.turned_away), (50, 0));
    while let Some(response) = posts.join_next().await {
        assert_eq!(response.unwrap().text, "new 3");
    }
    assert_eq!(new.state.posts.load(Ordering::SeqCst), 50);
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "new", "traffic continues");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_limited_in_requests_and_time() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    hold(&proxy, 2, Duration::from_secs(2)).await;
    let mut posts = post_from_clients(proxy.address, 2);
    wait_for_held(&proxy, 2).await;
    let third = send(proxy.address, get("/")).await.unwrap();
    assert_eq!((third.status, third.headers["retry-after"].as_bytes()), (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..]));
    while let Some(response) = posts.join_next().await {
        assert_eq!(response.unwrap().status, StatusCode::SERVICE_UNAVAILABLE, "the wait is limited");
    }
    assert_eq!(
        send(proxy.address, get("/")).await.unwrap().text,
        "blue",
        "a hold ends by itself, because the process that set it may be dead"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_until_the_release_forwards_nothing_before_it() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    hold_until_released(&proxy, 10, Duration::from_millis(200), true).await;
    for _ in 0..3 {
        assert_eq!(send(proxy.address, post("/", "row")).await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let view = &proxy.show().await[0];
    assert_eq!(view.held, Some(0), "the hold lasts until the release");
    assert!(view.hold.as_ref().unwrap().until_released);
    assert_eq!(target.state.posts.load(Ordering::SeqCst), 0);
    proxy.done(Command::Release { epoch: proxy.next_epoch(), service: "web".to_owned() }).await;
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
    assert_eq!(proxy.show().await[0].held, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_requests_do_not_reach_the_target_all_at_once() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    hold(&proxy, 1_000, Duration::from_secs(30)).await;
    let address = proxy.address;
    let mut requests: JoinSet<HttpResponse> =
        (0..200).map(|_| async move { send(address, post("/slow?100", "row")).await.unwrap() }).collect();
    wait_for_held(&proxy, 200).await;
    proxy.done(Command::Release { epoch: proxy.next_epoch(), service: "web".to_owned() }).await;
    let (mut most, mut answered) = (0, 0);
    while answered < 200 {
        most = most.max(proxy.show().await[0].targets[0].in_flight);
        while let Some(response) = requests.try_join_next() {
            assert_eq!(response.unwrap().status, StatusCode::OK);
            answered += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((2..=64).contains(&most), "{most} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_then_cuts_and_counts_requests() {
    let proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address = proxy.address;
    let quick = tokio::spawn(async move { send(address, get("/slow?300")).await });
    let slow: Vec<_> =
        (0..3).map(|_| tokio::spawn(async move { send(address, post("/slow?20000", "x")).await })).collect();
    let mut echo = EchoStream::open(proxy.address).await.unwrap();
    echo.say("hello").await.unwrap();
    while proxy.show().await[0].targets[0].in_flight < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drain_live = Command::Drain {
        epoch: proxy.next_epoch(),
        service: "web".to_owned(),
        target: "old".to_owned(),
        deadline: DurationText::secs(1),
        streams_deadline: Some(DurationText::secs(2)),
    };
    assert_eq!(proxy.ask(drain_live.clone()).await.unwrap_err().kind, RefusalKind::Conflict, "it is the live target");
    proxy.switch("new").await;
    let Command::Drain { service, target, deadline, streams_deadline, .. } = drain_live else { unreachable!() };
    let drain = Command::Drain { epoch: proxy.next_epoch(), service, target, deadline, streams_deadline };
    let CommandReply::Drained(drained) = proxy.done(drain).await else { panic!("no drain") };
    assert_eq!((drained.requests_cut, drained.streams_cut), (3, 1));
    assert!((2_000..4_000).contains(&drained.waited_ms), "{drained:?}");
    assert_eq!(quick.await.unwrap().unwrap().text, "old");
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap().status, StatusCode::BAD_GATEWAY);
    }
    assert!(echo.ended().await);
    let stats = proxy.stats().await;
    assert_eq!((stats.targets["old"].errors.cut, stats.targets["old"].in_flight), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_counts_http2_requests_and_ends_with_the_last() {
    let proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let sender = connect_http2(proxy.address).await;
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(
                async move { read_response(sender.send_request(get_http2("/slow?1000")).await.unwrap()).await },
            )
        })
        .collect();
    while proxy.show().await[0].targets[0].in_flight < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.switch("new").await;
    let drained = proxy.drain("old", Duration::from_secs(20)).await;
    assert_eq!(drained.requests_cut, 0);
    assert!(drained.waited_ms < 3_000, "{drained:?}");
    for slow in slow {
        assert_eq!(slow.await.unwrap().unwrap().text, "old");
    }
    let again = step(&[("old", old.address, 1), ("new", new.address, 1)]);
    proxy.step(again).await;
    assert!(!proxy.show().await[0].targets[0].draining, "a new step ends the drain");
}
