//! After the point of no return: whatever fails in the clean-up and wherever it is cancelled, the new version serves,
//! nothing is taken back half-way, and the next deploy and the next rollback find their way.

use std::collections::BTreeMap;

use deployer::effect::{Access, Effect};
use deployer::gateway::fault::FaultRule;
use deployer::journal::entry::{Entry, RunStatus};
use deployer::script::source::SHIPPED;
use serde_json::json;

use crate::deploys::{Deploy, FAULTS, PORT, deploys};
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
    // A cancel right after the rename still takes that back: it is then as it was at the commit, and mended like that.
    let taken_back =
        played.intents().iter().find(|intent| intent.undoes.is_some() && intent.kind != "docker_rename").cloned();
    if deploy.script != "rollback.rhai" {
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
