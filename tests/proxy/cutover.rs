//! Cut-overs by the hundred under load: no request fails, none is cut, also when the old target dies after its drain.

use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::ErrorCounts;
use deployer::proxy::command::{Command, Reply};

use super::load::Load;
use super::rig::{Rig, step};
use super::target::TestTarget;
use super::visit::{get, visit};

const CUT_OVERS: usize = 100;
/// Between two of them.
const ANSWERS_BETWEEN: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cut_overs_fail_no_request_and_cut_none() {
    let rig = Rig::start(&[]).await;
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    rig.serve(&[("blue", blue.address, 1), ("green", green.address, 0)]).await;
    let load = Load::start(rig.address, 5_000, true);
    let mut longest = Duration::ZERO;
    for number in 0..CUT_OVERS {
        let seen = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        let begun = std::time::Instant::now();
        rig.switch(to).await;
        longest = longest.max(begun.elapsed());
        // Whoever asks now gets the new one.
        let visited = visit(rig.address, get("/")).await.unwrap();
        assert_eq!(visited.text, to);
        while load.answered() < seen + ANSWERS_BETWEEN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Blue has the last word; green's slow answers and its streams are waited for.
    let drain = Command::Drain {
        epoch: rig.next_epoch(),
        service: "web".to_owned(),
        target: "green".to_owned(),
        deadline: DurationText::secs(20),
        streams_deadline: None,
    };
    let (drained, counts) = tokio::join!(rig.done(drain), load.end());
    let Reply::Drained(drained) = drained else { panic!("no drain") };
    let failures = counts.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.all(), failures.first());
    assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
    let stats = rig.stats().await;
    for (name, target) in &stats.targets {
        assert_eq!(target.errors, ErrorCounts::default(), "{name}");
        assert!(target.requests > 1_000, "{name}: {}", target.requests);
    }
    println!("{CUT_OVERS} cut-overs, {} answers, 0 failed; a switch took at most {longest:?}", counts.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_targets_replace_each_other_and_die_and_no_request_fails() {
    let rig = Rig::start(&[]).await;
    let mut old = TestTarget::start("target").await;
    rig.serve(&[("target-0", old.address, 1)]).await;
    let load = Load::start(rig.address, 200, false);
    for number in 1..=CUT_OVERS {
        let new = TestTarget::start("target").await;
        let (to, from) = (format!("target-{number}"), format!("target-{}", number - 1));
        rig.step(step(&[(&to, new.address, 1), (&from, old.address, 0)])).await;
        let drained = rig.drain(&from, Duration::from_secs(20)).await;
        assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
        rig.step(step(&[(&to, new.address, 1)])).await;
        old.die().await;
        old = new;
    }
    let counts = load.end().await;
    let failures = counts.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.all(), failures.first());
    println!("{CUT_OVERS} replacements, {} answers, 0 failed", counts.all());
}
