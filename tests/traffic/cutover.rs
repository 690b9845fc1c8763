//! Cut-overs by the dozen under load, with the honest figure of each program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Counts, Load};
use super::program::Kind;
use super::rig::{Rig, step};
use super::target::TestTarget;

const SLOW_MS: u64 = 2_000;
/// Between two cut-overs.
const ANSWERS_BETWEEN: u64 = 60;
/// One in so many is cut off in the middle, as a killed run is, and done again.
const INTERRUPTED: usize = 5;

struct Figures {
    counts: Arc<Counts>,
    cut_overs: usize,
    longest: Duration,
}

impl Figures {
    fn print(&self, kind: Kind) {
        let failed = |what| self.counts.failed(what);
        let all = |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::SeqCst);
        println!(
            "{kind:?}: {} cut-overs, each at most {:?}; failed of new connections {} of {}, of posts on kept \
             connections {} of {}, of slow answers {} of {}, streams cut {} (echoes {})",
            self.cut_overs,
            self.longest,
            failed("new connection"),
            all(&self.counts.requests),
            failed("post"),
            all(&self.counts.posts),
            failed("slow answer"),
            all(&self.counts.slow),
            failed("echo"),
            all(&self.counts.echoes),
        );
        for failure in self.counts.failures.lock().unwrap().iter().take(5) {
            println!("  {failure}");
        }
    }
}

async fn cut_over(kind: Kind, cut_overs: usize) -> Figures {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(kind, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    let load = Load::start_first(rig.address(), SLOW_MS, true);
    let mut longest = Duration::ZERO;
    for number in 0..cut_overs {
        let seen = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        if number % INTERRUPTED == INTERRUPTED - 1 {
            let killed_after = Duration::from_millis(number as u64 % 13);
            let switch = rig.ask("traffic_switch", json!({"service": "web", "target": to}));
            drop(tokio::time::timeout(killed_after, switch).await);
        }
        let begun = Instant::now();
        rig.switch(to).await;
        longest = longest.max(begun.elapsed());
        // Whoever asks now gets the new one.
        assert_eq!(rig.answer().await, to);
        while load.answered() < seen + ANSWERS_BETWEEN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Slow answers and streams of the one that lost are waited for.
    let lost = if cut_overs.is_multiple_of(2) { "green" } else { "blue" };
    let (drained, counts) = tokio::join!(rig.drain(lost, "20s"), load.end());
    let figures = Figures { counts, cut_overs, longest };
    figures.print(kind);
    assert_eq!((&drained["requests_cut"], &drained["streams_cut"]), (&json!(0), &json!(0)));
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_fails_nothing_in_a_hundred_cut_overs() {
    let figures = cut_over(Kind::Haproxy, 100).await;
    assert_eq!(figures.counts.failures.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_fails_no_new_connection_and_cuts_nothing_under_way() {
    let figures = cut_over(Kind::Nginx, 20).await;
    for kind in ["new connection", "slow answer", "upgrade", "echo"] {
        assert_eq!(figures.counts.failed(kind), 0, "{kind}");
    }
}

/// Visitors that come while Caddy opens its port anew, and streams, are cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_fails_a_few_and_cuts_streams() {
    let figures = cut_over(Kind::Caddy, 20).await;
    few_are_reset(&figures.counts);
    assert!(figures.counts.failed("echo") > 0, "Caddy has learned to keep streams: say so in docs/traffic.md");
}

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
