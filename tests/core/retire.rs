//! After the point of no return: whatever fails in the clean-up and wherever it is cancelled, the new version serves,
//! nothing is taken back half-way, and the next deploy and the next rollback find their way.

use std::collections::BTreeMap;

use deployer::effect::{Access, Effect};
use deployer::gateway::fault::FaultRule;
use deployer::journal::entry::{Entry, Record, RunStatus};
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Behaviour, Page};
use serde_json::json;

use crate::deploys::{Deploy, FAULTS, PORT, committed, deploys};
use crate::play::{Play, Played, Stop, play};

/// The number of the entry of the first `commit()`.
fn committed_at(played: &Played) -> u64 {
    played.records().iter().find(|record| matches!(record.entry, Entry::Committed { .. })).unwrap().n
}

/// Every effect that is reached after that: its kind, and the how-manieth of its kind it is.
fn reached_after_commit(played: &Played) -> Vec<(String, u32)> {
    let from = committed_at(played);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut after = Vec::new();
    for record in played.records() {
        let Entry::Intended { intent } = record.entry else { continue };
        let effect = Effect::decode(&intent.kind, intent.args.clone()).unwrap();
        let prior = effect.facts().prior().filter(|_| effect.facts().access() == Access::Write);
        for kind in prior.iter().map(Effect::kind).chain([effect.kind()]) {
            let count = counts.entry(kind.to_owned()).or_default();
            *count += 1;
            if record.n > from {
                after.push((kind.to_owned(), *count));
            }
        }
    }
    after
}

fn rollback() -> Play {
    let text = SHIPPED.iter().find(|(name, _)| *name == "rollback.rhai").unwrap().1;
    play(text).with(json!({"service": "web", "bake": "1s"}))
}

/// What is wrong with this end, with the next deploy after it, and with the next rollback after it. The world can be
/// gone on with once, so that each needs the run anew.
fn wrong(deploy: &Deploy, run: &dyn Fn() -> Played) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut hold = |what: &str, played: &Played, statuses: &[RunStatus], serves: &str, alone: bool| {
        let end = played.end();
        if !statuses.contains(&end.status) {
            wrong.push(format!("{what}: {} {:?} {:?}", end.status, end.error, end.remaining));
        }
        let answer = played.world.answer(PORT).map(|answer| answer.page.body);
        if answer.as_deref() != Some(serves) {
            wrong.push(format!("{what}: {answer:?} serves"));
        }
        let names: Vec<&str> = played.after.containers.keys().map(String::as_str).collect();
        // The blue that compose replaced may be anybody's: only a deploy by compose removes it.
        let names: Vec<&str> = names.into_iter().filter(|name| what != "a rollback" || *name != "web-blue").collect();
        if alone && names != ["web"] {
            wrong.push(format!("{what}: containers are {names:?}"));
        }
        if !played.after.locks.is_empty() {
            wrong.push(format!("{what}: locks are left"));
        }
    };
    let played = run();
    hold("the run", &played, &[RunStatus::Succeeded, RunStatus::Cancelled], deploy.new, false);
    // A cancel in the middle of the clean-up takes back what no commit has closed since: the name, who is warm behind the
    // route. It is then as it was at the commit, and mended like that.
    let harmless = ["docker_rename", "traffic_set", "docker_start"];
    let taken_back = played
        .intents()
        .iter()
        .find(|intent| intent.undoes.is_some() && !harmless.contains(&intent.kind.as_str()))
        .cloned();
    // Done again, the one goes forward, and the other has nothing to do.
    if !["rollback.rhai", "take_port.rhai"].contains(&deploy.script) {
        let next = deploy.play().in_world(played.world.clone()).run();
        hold("the next deploy", &next, &[RunStatus::Succeeded], deploy.new, true);
    }
    let back = rollback().in_world(run().world).run();
    match deploy.old {
        Some(old) if old != deploy.new => hold("a rollback", &back, &[RunStatus::Succeeded], old, true),
        // There is no other release: it says so, and the one there is goes on.
        _ => hold("a rollback", &back, &[RunStatus::Failed], deploy.new, false),
    }
    if let Some(intent) = taken_back {
        wrong.push(format!("{} {} took something back after the point of no return", intent.kind, intent.subject));
    }
    wrong
}

/// Virtual time from the signal to the old container until the new one starts.
fn drained_in_ms(old: &Behaviour) -> i64 {
    let mut scenario = committed("web:live", "a");
    scenario.images.last_mut().unwrap().behaviour = old.clone().into();
    let text = SHIPPED.iter().find(|(name, _)| *name == "safe_deploy.rhai").unwrap().1;
    let given = json!({"service": "web", "container_port": 5000, "port": PORT, "bake": "1s", "drain": "4s"});
    let played = play(text).on(scenario).with(given).run();
    assert_eq!(played.status(), RunStatus::Succeeded, "{}", played.report());
    let at = |kind: &str| {
        let is_it = |record: &&Record| matches!(&record.entry, Entry::Intended { intent } if intent.kind == kind);
        played.records().iter().find(is_it).unwrap_or_else(|| panic!("no {kind}")).at_ms
    };
    assert_eq!(played.effects().iter().filter(|effect| effect.starts_with("docker_kill")).count(), 1);
    at("docker_start") - at("docker_kill")
}

#[test]
fn draining_takes_as_long_as_the_app_does_and_no_longer_than_it_may() {
    let ready = |status: u16| BTreeMap::from([("/api/v1/ready".to_owned(), Page::status(status))]);
    let deaf = Behaviour { ignores_term: true, paths: ready(200), ..Behaviour::default() };
    let slow = Behaviour { stops_in_ms: 60_000, paths: ready(503), ..Behaviour::default() };
    let quick = Behaviour { stops_in_ms: 1_500, paths: ready(503), ..Behaviour::default() };
    for (behaviour, most) in [(deaf, 5_500), (slow, 5_500), (quick, 3_000)] {
        let took = drained_in_ms(&behaviour);
        assert!((1_000..most).contains(&took), "{took} ms: {behaviour:?}");
    }
}

#[test]
fn every_fault_in_the_clean_up_is_mended_by_whatever_comes_next() {
    let mut cases = 0;
    for deploy in deploys() {
        for (kind, nth) in reached_after_commit(&deploy.play().run()) {
            for fault in FAULTS {
                let rule = FaultRule { kind: kind.clone(), subject: String::new(), nth, fault };
                let wrong = wrong(&deploy, &|| deploy.play().fault(rule.clone()).run());
                assert!(wrong.is_empty(), "{}, {kind}#{nth} {fault:?}: {wrong:#?}", deploy.name);
                cases += 1;
            }
        }
    }
    assert!(cases > 100, "only {cases}");
}

#[test]
fn a_cancel_anywhere_in_the_clean_up_is_mended_by_whatever_comes_next() {
    for deploy in deploys() {
        let whole = deploy.play().run();
        for at in committed_at(&whole)..=whole.records().len() as u64 {
            let wrong = wrong(&deploy, &|| deploy.play().stop_at(at, Stop::Once).run());
            assert!(wrong.is_empty(), "{} at {at}: {wrong:#?}", deploy.name);
        }
    }
}
