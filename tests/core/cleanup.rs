//! After the point of no return: when the clean-up fails or is cancelled anywhere, the new version serves, nothing is
//! undone, and the next deploy and the next release rollback succeed.

use std::collections::BTreeMap;

use deployer::effect::{Access, Effect};
use deployer::gateway::fault::FaultRule;
use deployer::journal::entry::{Entry, Record, RunStatus};
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Behaviour, SimResponse};
use serde_json::json;

use crate::host_snapshots::without_releases;
use crate::shipped_deploys::{Deploy, FAULTS, PORT, committed, deploys};
use crate::test_run::{FinishedRun, Stop, TestRun, test_run};

/// The number of the entry for the first `commit()`.
fn committed_at(finished: &FinishedRun) -> u64 {
    finished.records().iter().find(|record| matches!(record.entry, Entry::Committed { .. })).unwrap().n
}

/// Every effect after the commit: its kind, and its number among the effects of this kind.
fn reached_after_commit(finished: &FinishedRun) -> Vec<(String, u32)> {
    let from = committed_at(finished);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut after = Vec::new();
    for record in finished.records() {
        let Entry::Intended { intent } = record.entry else { continue };
        let effect = Effect::decode(&intent.kind, intent.args.clone()).unwrap();
        let prior = effect.spec().prior().filter(|_| effect.spec().access() == Access::Write);
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

fn rollback() -> TestRun {
    let text = SHIPPED.iter().find(|(name, _)| *name == "rollback.rhai").unwrap().1;
    test_run(text).with(json!({"service": "web", "bake": "1s"}))
}

/// Lists what is wrong with the end of a run, with the next deploy, and with the next release rollback. Both change the
/// world, so the run is repeated for the second one.
fn violations(deploy: &Deploy, run: &dyn Fn() -> FinishedRun) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, finished: &FinishedRun, statuses: &[RunStatus], serves: &str, alone: bool| {
        let end = finished.end();
        if !statuses.contains(&end.status) {
            wrong.push(format!("{what}: {} {:?} {:?}", end.status, end.error, end.remaining));
        }
        let answer = finished.world.response_on_port(PORT).map(|answer| answer.response.body);
        if answer.as_deref() != Some(serves) {
            wrong.push(format!("{what}: {answer:?} serves"));
        }
        let names = without_releases(&finished.after);
        // Only a deploy by compose removes the blue container that compose replaced: it may belong to someone else.
        let names: Vec<&str> = names.into_iter().filter(|name| what != "a rollback" || *name != "web-blue").collect();
        if alone && names != ["web"] {
            wrong.push(format!("{what}: containers are {names:?}"));
        }
        if !finished.after.locks.is_empty() {
            wrong.push(format!("{what}: locks are left"));
        }
    };
    let finished = run();
    check("the run", &finished, &[RunStatus::Succeeded, RunStatus::Cancelled], deploy.new, false);
    // A cancel during the clean-up undoes changes made after the commit: the rename, and the warm target behind the
    // route. The host is then as it was at the commit, and the next deploy cleans up.
    let harmless = ["docker_rename", "traffic_set", "docker_start"];
    let undone = finished
        .intents()
        .iter()
        .find(|intent| intent.undoes.is_some() && !harmless.contains(&intent.kind.as_str()))
        .cloned();
    // A second rollback would return to the new release, and taking the port again has nothing to do.
    if !["rollback.rhai", "take_port.rhai"].contains(&deploy.script) {
        let next = deploy.test_run().in_world(finished.world.clone()).run();
        check("the next deploy", &next, &[RunStatus::Succeeded], deploy.new, true);
    }
    let back = rollback().in_world(run().world).run();
    match deploy.old {
        // Taking the port keeps the release; if its clean-up fails, the old container is kept like that of a release.
        Some(old) if deploy.script == "take_port.rhai" => {
            check("a rollback", &back, &[RunStatus::Succeeded, RunStatus::Failed], old, false);
        }
        // The configuration is restored even if the image is the same.
        Some(old) => check("a rollback", &back, &[RunStatus::Succeeded], old, true),
        // There is no previous release, so the rollback fails and the live version keeps serving.
        _ => check("a rollback", &back, &[RunStatus::Failed], deploy.new, false),
    }
    if let Some(intent) = undone {
        wrong.push(format!("{} {} was undone after the point of no return", intent.kind, intent.subject));
    }
    wrong
}

/// Virtual time from the signal to the old container until the new container starts.
fn drained_in_ms(old: &Behaviour) -> i64 {
    let mut scenario = committed("web:live", "a");
    scenario.images.last_mut().unwrap().behaviour = old.clone().into();
    let text = SHIPPED.iter().find(|(name, _)| *name == "safe_deploy.rhai").unwrap().1;
    let given = json!({"service": "web", "container_port": 5000, "port": PORT, "bake": "1s", "drain": "4s"});
    let finished = test_run(text).on(scenario).with(given).run();
    assert_eq!(finished.status(), RunStatus::Succeeded, "{}", finished.report());
    let at = |kind: &str| {
        let has_kind = |record: &&Record| matches!(&record.entry, Entry::Intended { intent } if intent.kind == kind);
        finished.records().iter().find(has_kind).unwrap_or_else(|| panic!("no {kind}")).at_ms
    };
    assert_eq!(finished.effects().iter().filter(|effect| effect.starts_with("docker_kill")).count(), 1);
    at("docker_start") - at("docker_kill")
}

#[test]
fn draining_takes_as_long_as_the_app_needs_up_to_the_limit() {
    let ready = |status: u16| BTreeMap::from([("/api/v1/ready".to_owned(), SimResponse::status(status))]);
    let ignores_sigterm = Behaviour { ignores_term: true, paths: ready(200), ..Behaviour::default() };
    let slow = Behaviour { stops_in_ms: 60_000, paths: ready(503), ..Behaviour::default() };
    let quick = Behaviour { stops_in_ms: 1_500, paths: ready(503), ..Behaviour::default() };
    for (behaviour, max_ms) in [(ignores_sigterm, 5_500), (slow, 5_500), (quick, 3_000)] {
        let took = drained_in_ms(&behaviour);
        assert!((1_000..max_ms).contains(&took), "{took} ms: {behaviour:?}");
    }
}

#[test]
fn every_fault_in_the_clean_up_is_repaired_by_the_next_run() {
    let mut cases = 0;
    for deploy in deploys() {
        for (kind, nth) in reached_after_commit(&deploy.test_run().run()) {
            for fault in FAULTS {
                let rule = FaultRule { kind: kind.clone(), subject: String::new(), nth, fault };
                let wrong = violations(&deploy, &|| deploy.test_run().fault(rule.clone()).run());
                assert!(wrong.is_empty(), "{}, {kind}#{nth} {fault:?}: {wrong:#?}", deploy.name);
                cases += 1;
            }
        }
    }
    assert!(cases > 100, "only {cases}");
}

#[test]
fn a_cancel_anywhere_in_the_clean_up_is_repaired_by_the_next_run() {
    for deploy in deploys() {
        let whole = deploy.test_run().run();
        for at in committed_at(&whole)..=whole.records().len() as u64 {
            let wrong = violations(&deploy, &|| deploy.test_run().stop_at(at, Stop::Once).run());
            assert!(wrong.is_empty(), "{} at {at}: {wrong:#?}", deploy.name);
        }
    }
}
