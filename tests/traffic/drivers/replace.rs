//! Targets that are replaced many times under load; each is stopped after its drain. Prints the failures of each
//! program. `tests/docker/cutover.rs` has the cutovers between targets that stay.

use std::sync::Arc;

use super::fixture::{DriverFixture, step};
use crate::support::load::{Counts, Load};
use crate::support::route_program::Kind;
use crate::support::target::TestTarget;

/// Asserts that less than 5 % of the requests failed, and that every answer was good.
fn few_are_reset(counts: &Counts) {
    let failed = counts.failed("new connection") + counts.failed("slow answer");
    let all = counts.requests.load(std::sync::atomic::Ordering::SeqCst);
    assert!(failed as u64 * 20 < all, "{failed} of {all}");
    assert!(
        counts.failures.lock().unwrap().iter().all(|failure| !failure.contains("status")),
        "every answer must be good: {:?}",
        counts.failures.lock().unwrap()
    );
}

/// Replaces the target `times` times under load. Each old target is stopped after its drain.
async fn replace_targets(kind: Kind, times: usize) -> Arc<Counts> {
    let mut old = TestTarget::start("target").await;
    let fixture = DriverFixture::serving(kind, &[("target-0", &old, 1)]).await;
    let load = Load::start_http1(fixture.address(), 200, false);
    for number in 1..=times {
        let new = TestTarget::start("target").await;
        let (to, from) = (format!("target-{number}"), format!("target-{}", number - 1));
        fixture.set(&[(&to, &new, 1), (&from, &old, 0)]).await.unwrap();
        let drained = fixture.drain(&from, "20s").await;
        assert_eq!(drained["requests_cut"], 0);
        fixture.done("traffic_set", step(&[(&to, &new, 1)])).await;
        old.kill().await;
        old = new;
    }
    let counts = load.finish().await;
    let failed = |what| counts.failed(what);
    println!(
        "{kind:?}: {times} replacements, {} answers, failed of new connections {}, posts {}, slow answers {}",
        counts.total(),
        failed("new connection"),
        failed("post"),
        failed("slow answer")
    );
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_replaces_targets() {
    let counts = replace_targets(Kind::Haproxy, 20).await;
    assert_eq!(counts.failures.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_replaces_targets() {
    let counts = replace_targets(Kind::Nginx, 5).await;
    assert_eq!((counts.failed("new connection"), counts.failed("slow answer")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_replaces_targets() {
    let counts = replace_targets(Kind::Caddy, 10).await;
    few_are_reset(&counts);
}
