//! A hundred cut-overs under load: no request fails, none is cut.

use std::time::Duration;

use super::load::Load;
use super::rig::Rig;
use super::target::TestTarget;

const CUT_OVERS: usize = 100;
/// Between two of them.
const ANSWERS_BETWEEN: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cut_overs_fail_no_request_and_cut_none() {
    let rig = Rig::start(&[]).await;
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    rig.serve(&[("blue", blue.address, 1), ("green", green.address, 0)]).await;
    let load = Load::start(rig.address, true);
    let mut longest = Duration::ZERO;
    for number in 0..CUT_OVERS {
        let seen = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        let begun = std::time::Instant::now();
        rig.switch(to).await;
        longest = longest.max(begun.elapsed());
        // Whoever asks now gets the new one.
        let visited = super::visit::visit(rig.address, super::visit::get("/")).await.unwrap();
        assert_eq!(visited.text, to);
        while load.answered() < seen + ANSWERS_BETWEEN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Blue has the last word; green's slow answers and its streams are waited for.
    let drain = tokio::spawn({
        let (epoch, client) = (rig.next_epoch(), rig.client.clone());
        async move {
            let command = deployer::proxy::command::Command::Drain {
                epoch,
                service: "web".to_owned(),
                target: "green".to_owned(),
                deadline: deployer::base::duration_text::DurationText::secs(20),
                streams_deadline: None,
            };
            client.ask(&command, super::rig::PATIENCE).await.unwrap().unwrap()
        }
    });
    let counts = load.end().await;
    let deployer::proxy::command::Reply::Drained(drained) = drain.await.unwrap() else { panic!("no drain") };
    let failures = counts.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.all(), failures.first());
    assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
    let stats = rig.stats().await;
    for (name, target) in &stats.targets {
        assert_eq!(target.errors, deployer::effect::traffic::ErrorCounts::default(), "{name}");
        assert!(target.requests > 1_000, "{name}: {}", target.requests);
    }
    println!("{CUT_OVERS} cut-overs, {} answers, 0 failed; a switch took at most {longest:?}", counts.all());
}
