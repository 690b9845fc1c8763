//! A hundred cutovers under load: no request fails and none is cut, even if the old target is stopped after its drain.

use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::ErrorCounts;
use deployer::proxy::command::{Command, CommandReply};

use super::fixture::{TestProxy, step};
use crate::support::async_http::{get, send};
use crate::support::load::Load;
use crate::support::target::TestTarget;

const CUTOVERS: usize = 100;
/// Answers between two cutovers.
const ANSWERS_BETWEEN: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cutovers_fail_no_request_and_cut_none() {
    let proxy = TestProxy::start(&[]).await;
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    proxy.serve(&[("blue", blue.address, 1), ("green", green.address, 0)]).await;
    let load = Load::start(proxy.address, 5_000, true);
    let mut longest = Duration::ZERO;
    for number in 0..CUTOVERS {
        let seen = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        let begun = std::time::Instant::now();
        proxy.switch(to).await;
        longest = longest.max(begun.elapsed());
        // A new request gets the new target.
        let response = send(proxy.address, get("/")).await.unwrap();
        assert_eq!(response.text, to);
        while load.answered() < seen + ANSWERS_BETWEEN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Blue serves at the end. The drain waits for green's slow answers and streams.
    let drain = Command::Drain {
        epoch: proxy.next_epoch(),
        service: "web".to_owned(),
        target: "green".to_owned(),
        deadline: DurationText::secs(20),
        streams_deadline: None,
    };
    let (drained, counts) = tokio::join!(proxy.done(drain), load.finish());
    let CommandReply::Drained(drained) = drained else { panic!("no drain") };
    let failures = counts.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.total(), failures.first());
    assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
    let stats = proxy.stats().await;
    for (name, target) in &stats.targets {
        assert_eq!(target.errors, ErrorCounts::default(), "{name}");
        assert!(target.requests > 1_000, "{name}: {}", target.requests);
    }
    println!("{CUTOVERS} cutovers, {} answers, 0 failed; a switch took at most {longest:?}", counts.total());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_a_hundred_targets_fails_no_request() {
    let proxy = TestProxy::start(&[]).await;
    let mut old = TestTarget::start("target").await;
    proxy.serve(&[("target-0", old.address, 1)]).await;
    let load = Load::start(proxy.address, 200, false);
    for number in 1..=CUTOVERS {
        let new = TestTarget::start("target").await;
        let (to, from) = (format!("target-{number}"), format!("target-{}", number - 1));
        proxy.step(step(&[(&to, new.address, 1), (&from, old.address, 0)])).await;
        let drained = proxy.drain(&from, Duration::from_secs(20)).await;
        assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
        proxy.step(step(&[(&to, new.address, 1)])).await;
        old.kill().await;
        old = new;
    }
    let counts = load.finish().await;
    let failures = counts.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.total(), failures.first());
    println!("{CUTOVERS} replacements, {} answers, 0 failed", counts.total());
}
