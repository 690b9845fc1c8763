//! Targets that die after the switch, and warm targets that replace them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::{Route, TargetCheck};
use http::StatusCode;

use super::fixture::TestProxy;
use crate::support::async_http::{get, send};
use crate::support::target::TestTarget;

const TIMEOUT: Duration = Duration::from_secs(10);

async fn wait_for_health(proxy: &TestProxy, target: usize, expected: bool) {
    let begun = Instant::now();
    while proxy.show().await[0].targets[target].healthy != expected {
        assert!(begun.elapsed() < TIMEOUT, "{:?}", proxy.show().await[0].targets);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_live_target_falls_back_to_the_warm_one_without_a_failure() {
    let proxy = TestProxy::start(&[]).await;
    let (new, old) = (TestTarget::start("new").await, TestTarget::start("old").await);
    let address = new.address;
    proxy.serve(&[("new", address, 1), ("old", old.address, 0)]).await;
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "new");
    new.kill().await;
    for _ in 0..50 {
        let response = send(proxy.address, get("/")).await.unwrap();
        assert_eq!((response.status, response.text.as_str()), (StatusCode::OK, "old"));
    }
    wait_for_health(&proxy, 0, false).await;
    let _again = TestTarget::start_at("new", address).await;
    wait_for_health(&proxy, 0, true).await;
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "new", "the live target serves again");
    let metrics = proxy.client.metrics(TIMEOUT).await.unwrap();
    assert!(metrics.contains("deployer_proxy_healthy{service=\"web\",target=\"new\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_health_path_makes_a_target_unhealthy() {
    let proxy = TestProxy::start(&[]).await;
    let (new, old) = (TestTarget::start("new").await, TestTarget::start("old").await);
    let interval = DurationText::millis(50);
    let check = TargetCheck { path: Some("/health".to_owned()), interval, ..TargetCheck::default() };
    let route = Route { check, ..proxy.route("web") };
    proxy.serve_as(route, &[("new", new.address, 1), ("old", old.address, 0)]).await;
    new.state.unhealthy.store(true, Ordering::SeqCst);
    wait_for_health(&proxy, 0, false).await;
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "old");
    old.state.unhealthy.store(true, Ordering::SeqCst);
    wait_for_health(&proxy, 1, false).await;
    let response = send(proxy.address, get("/")).await.unwrap();
    assert_eq!(
        (response.status, response.text.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "new"),
        "the live target answers if none is healthy"
    );
    assert_eq!(proxy.stats().await.targets["new"].statuses["5xx"], 1);
}
