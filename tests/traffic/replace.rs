//! Targets replaced by the dozen under load, each dead after its drain, with the honest figure of each program. Cut-overs
//! between targets that stay are in `e2e_cutover_docker.rs`.

use std::sync::Arc;

use super::load::{Counts, Load};
use super::program::Kind;
use super::rig::{Rig, step};
use super::target::TestTarget;

/// Of a hundred new connections, those that come just then.
fn few_are_reset(counts: &Counts) {
    let failed = counts.failed("new connection") + counts.failed("slow answer");
    let all = counts.requests.load(std::sync::atomic::Ordering::SeqCst);
    assert!(failed as u64 * 20 < all, "{failed} of {all}");
    assert!(
        counts.failures.lock().unwrap().iter().all(|failure| !failure.contains("status")),
        "whoever is heard is answered well: {:?}",
        counts.failures.lock().unwrap()
    );
}

/// Targets that die after their drain take nobody with them.
async fn replace(kind: Kind, times: usize) -> Arc<Counts> {
    let mut old = TestTarget::start("target").await;
    let rig = Rig::serving(kind, &[("target-0", &old, 1)]).await;
    let load = Load::start_first(rig.address(), 200, false);
    for number in 1..=times {
        let new = TestTarget::start("target").await;
        let (to, from) = (format!("target-{number}"), format!("target-{}", number - 1));
        rig.set(&[(&to, &new, 1), (&from, &old, 0)]).await.unwrap();
        let drained = rig.drain(&from, "20s").await;
        assert_eq!(drained["requests_cut"], 0);
        rig.done("traffic_set", step(&[(&to, &new, 1)])).await;
        old.die().await;
        old = new;
    }
    let counts = load.end().await;
    let failed = |what| counts.failed(what);
    println!(
        "{kind:?}: {times} replacements, {} answers, failed of new connections {}, posts {}, slow answers {}",
        counts.all(),
        failed("new connection"),
        failed("post"),
        failed("slow answer")
    );
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_haproxy_replace_each_other_and_die() {
    let counts = replace(Kind::Haproxy, 20).await;
    assert_eq!(counts.failures.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_nginx_replace_each_other_and_die() {
    let counts = replace(Kind::Nginx, 5).await;
    assert_eq!((counts.failed("new connection"), counts.failed("slow answer")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_caddy_replace_each_other_and_die() {
    let counts = replace(Kind::Caddy, 10).await;
    few_are_reset(&counts);
}
