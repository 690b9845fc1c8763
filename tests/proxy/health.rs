//! Targets that die after the switch, and warm ones that stand in.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::{Route, TargetCheck};
use http::StatusCode;

use super::rig::Rig;
use super::target::TestTarget;
use super::visit::{get, visit};

const PATIENCE: Duration = Duration::from_secs(10);

async fn healthy(rig: &Rig, target: usize, expected: bool) {
    let begun = Instant::now();
    while rig.show().await[0].targets[target].healthy != expected {
        assert!(begun.elapsed() < PATIENCE, "{:?}", rig.show().await[0].targets);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_live_target_falls_back_to_the_warm_one_without_a_failure() {
    let rig = Rig::start(&[]).await;
    let (new, old) = (TestTarget::start("new").await, TestTarget::start("old").await);
    let address = new.address;
    rig.serve(&[("new", address, 1), ("old", old.address, 0)]).await;
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "new");
    new.die().await;
    for _ in 0..50 {
        let visited = visit(rig.address, get("/")).await.unwrap();
        assert_eq!((visited.status, visited.text.as_str()), (StatusCode::OK, "old"));
    }
    healthy(&rig, 0, false).await;
    let _again = TestTarget::start_at("new", address).await;
    healthy(&rig, 0, true).await;
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "new", "back to the live one");
    let metrics = rig.client.metrics(PATIENCE).await.unwrap();
    assert!(metrics.contains("deployer_proxy_healthy{service=\"web\",target=\"new\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_answers_badly_is_sickness_too() {
    let rig = Rig::start(&[]).await;
    let (new, old) = (TestTarget::start("new").await, TestTarget::start("old").await);
    let interval = DurationText::millis(50);
    let check = TargetCheck { path: Some("/health".to_owned()), interval, ..TargetCheck::default() };
    let route = Route { check, ..rig.route("web") };
    rig.serve_as(route, &[("new", new.address, 1), ("old", old.address, 0)]).await;
    new.seen.sick.store(true, Ordering::SeqCst);
    healthy(&rig, 0, false).await;
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "old");
    old.seen.sick.store(true, Ordering::SeqCst);
    healthy(&rig, 1, false).await;
    let visited = visit(rig.address, get("/")).await.unwrap();
    assert_eq!((visited.status, visited.text.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "new"), "the live one");
    assert_eq!(rig.stats().await.targets["new"].statuses["5xx"], 1);
}
