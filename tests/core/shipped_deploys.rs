//! The shipped scripts with every fault at every effect in turn. In each case the reported end is true, one version
//! serves, and nothing is left behind.

use std::collections::BTreeMap;
use std::fmt::Write;

use deployer::effect::{Access, Effect};
use deployer::gateway::fault::{FaultKind, FaultRule};
use deployer::journal::entry::RunStatus;
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Behaviour, InitialContainer, Scenario, SimImage, SimProject, SimResponse, SimService};
use serde_json::{Value, json};

use crate::host_snapshots::{comparable, difference, without_releases};
use crate::migrations::{LOSSY, migrating, with_database};
use crate::sweep::sampled;
use crate::test_run::{FinishedRun, Stop, TestRun, test_run};

pub const FAULTS: [FaultKind; 5] = [
    FaultKind::Refused,
    FaultKind::Transient,
    FaultKind::TimeoutApplied,
    FaultKind::TimeoutNotApplied,
    FaultKind::ConnectionLost,
];
pub const PORT: u16 = 8080;

/// A shipped script with parameters and a host that it is made for.
pub struct Deploy {
    pub name: &'static str,
    pub script: &'static str,
    pub params: Value,
    pub scenario: Scenario,
    /// Body of the answers on the public port before the deploy.
    pub old: Option<&'static str>,
    /// Body of the answers on the public port after the deploy.
    pub new: &'static str,
    /// Names of the containers after a successful run.
    pub names: &'static [&'static str],
}

impl Deploy {
    pub fn test_run(&self) -> TestRun {
        let text = SHIPPED.iter().find(|(name, _)| *name == self.script).unwrap().1;
        test_run(text).on(self.scenario.clone()).with(self.params.clone())
    }

    /// Returns whether the next deploy removes what a failed clean-up left behind.
    fn next_deploy_cleans_up(&self, finished: &FinishedRun) -> bool {
        // A second rollback would return to the new release.
        let name = match self.name {
            "rollback" => "blue-green",
            "rollback: routed" | "take port" => "routed",
            other => other,
        };
        let next = deploys().into_iter().find(|next| next.name == name);
        let again = next.unwrap().test_run().in_world(finished.world.clone()).run();
        let names = without_releases(&again.after);
        again.status() == RunStatus::Succeeded && names == ["web"]
    }

    /// Lists what is wrong with the end of this run.
    pub fn violations(&self, finished: &FinishedRun) -> Vec<String> {
        let end = finished.end();
        let mut wrong = Vec::new();
        let answer = finished.world.response_on_port(PORT).map(|answer| answer.response.body);
        let names = without_releases(&finished.after);
        let committed_failure = end.committed && end.status != RunStatus::Succeeded;
        match end.status {
            RunStatus::Stuck => {
                if end.remaining.is_empty() {
                    wrong.push("stuck, and nothing remains".into());
                }
                if end.remaining.iter().all(|remaining| remaining.command.is_none()) {
                    wrong.push(format!("stuck without a command: {:?}", end.remaining));
                }
            }
            _ if end.status == RunStatus::Succeeded || committed_failure => {
                if answer.as_deref() != Some(self.new) {
                    wrong.push(format!("the new one does not serve, but {answer:?}"));
                }
                // An incomplete clean-up is reported; it does not fail the deploy.
                let reported =
                    committed_failure || finished.messages().iter().any(|text| text.contains("the next deploy"));
                if names != self.names && !(reported && self.next_deploy_cleans_up(finished)) {
                    wrong.push(format!("containers are {names:?}"));
                }
            }
            RunStatus::Running | RunStatus::Unfinished | RunStatus::Aborted | RunStatus::Locked => {
                wrong.push("unexpected status".into());
            }
            _ if comparable(&finished.before) != comparable(&finished.after) => {
                wrong.push(difference(&finished.before, &finished.after));
            }
            _ => {}
        }
        if end.status != RunStatus::Stuck && answer.as_deref() != self.old && answer.as_deref() != Some(self.new) {
            wrong.push(format!("{answer:?} serves"));
        }
        if !finished.after.locks.is_empty() {
            wrong.push(format!("locks: {:?}", finished.after.locks));
        }
        wrong
    }
}

fn responds_with(body: &str) -> Behaviour {
    Behaviour { response: SimResponse { body: body.into(), ..SimResponse::default() }, ..Behaviour::default() }
}

/// A container `web` on the public port, not created by deployer.
pub fn foreign_container(image: &str, overrides: Value) -> InitialContainer {
    let mut spec = json!({"name": "web", "image": image, "ports": ["8080:5000"], "environment": {"A": "1"}});
    spec.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    InitialContainer::new(serde_json::from_value(spec).unwrap())
}

fn with_blue(image: &str) -> Scenario {
    Scenario { containers: vec![foreign_container(image, json!({}))], ..Scenario::default() }
}

/// `web` as a compose project with one service.
fn composed(labelled: bool) -> Scenario {
    let service = SimService {
        container: serde_json::from_value(json!({"name": "web", "image": "web:v2", "ports": ["8080:5000"]})).unwrap(),
        depends_on: Vec::new(),
        build: None,
        behaviour: None,
    };
    let project =
        SimProject { name: "site".into(), services: BTreeMap::from([("web".to_owned(), service)]), refused: None };
    let labels = json!({"labels": {"com.docker.compose.project": "site", "com.docker.compose.service": "web"}});
    let blue = foreign_container("web:v1", if labelled { labels } else { json!({}) });
    Scenario {
        containers: vec![blue],
        projects: BTreeMap::from([("docker-compose.yml".to_owned(), project)]),
        ..Scenario::default()
    }
}

pub fn committed(image: &str, commit: &str) -> Scenario {
    let mut scenario = Scenario::default();
    let mut old = SimImage::new(image, responds_with("old"));
    old.labels.insert("deployer.commit".into(), commit.repeat(40));
    scenario.images.push(old);
    scenario.containers.push(foreign_container(image, json!({})));
    scenario
}

/// `web` behind a route that the proxy drives.
fn behind_a_route(mut scenario: Scenario) -> Scenario {
    let spec = &mut scenario.containers[0].spec;
    *spec = serde_json::from_value(json!({
        "name": "web", "image": spec.image, "ports": ["127.0.0.1:8081:5000"], "service": "web", "role": "live",
        "labels": {"deployer.ports": "8081 8082"}, "volumes": spec.volumes,
    }))
    .unwrap();
    let route = json!({
        "driver": "proxy",
        "route": {"service": "web", "address": "0.0.0.0:8080", "check": {"path": "/"}},
        "targets": [{"name": "blue", "address": "127.0.0.1:8081"}],
    });
    scenario.routes.insert("web".into(), serde_json::from_value(route).unwrap());
    scenario
}

fn routed(image: &str) -> Scenario {
    behind_a_route(with_blue(image))
}

fn routed_database() -> Scenario {
    behind_a_route(with_database(LOSSY))
}

fn migrating_behind_a_route(mode: &'static str) -> Value {
    let mut params = migrating(mode);
    params["traffic"] = json!({"driver": "proxy", "keep_warm": "2s"});
    params
}

fn committed_behind_a_route(image: &str, commit: &str) -> Scenario {
    behind_a_route(committed(image, commit))
}

pub fn deploys() -> Vec<Deploy> {
    let bluegreen = |name, scenario, old, new, names, overrides: Value| {
        let mut params = json!({"service": "web", "image": "web:v2", "bake": "2s"});
        params.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
        Deploy { name, script: "bluegreen.rhai", params, scenario, old, new, names }
    };
    let hook = json!([{"channel": "webhook", "url": "http://hooks.test/x"}]);
    let mut previous = with_blue("web:v2");
    previous.images[0].names.push("web:rollback".into());
    let safe = |name, scenario, old, params: Value| {
        let mut all = json!({"service": "web", "container_port": 5000, "port": PORT, "bake": "1s"});
        all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        let script = "safe_deploy.rhai";
        Deploy { name, script, params: all, scenario, old, new: "ok", names: &["web"] }
    };
    let other = |name, script, params, scenario, old, new| Deploy {
        name,
        script,
        params,
        scenario,
        old: Some(old),
        new,
        names: &["web"],
    };
    let mut previous_behind_a_route = routed("web:v2");
    previous_behind_a_route.images[0].names.push("web:rollback".into());
    let mut restarted = committed("web:live", "b");
    restarted.images.last_mut().unwrap().behaviour = responds_with("ok").into();
    vec![
        bluegreen("blue-green", with_blue("web:v1"), Some("v1"), "v2", &["web"], json!({"notify": hook})),
        bluegreen("first", Scenario::default(), None, "v2", &["web"], json!({})),
        bluegreen("same image", with_blue("web:v2"), Some("v2"), "v2", &["web"], json!({})),
        bluegreen(
            "with a build and a database",
            with_blue("web:v1"),
            Some("v1"),
            "ok",
            &["web"],
            json!({"build": ".", "volumes": ["data:/data"], "memory_mb": 100,
                "database": {"volume": "data", "path": "app.db", "missing_ok": true, "seed": ["seed"]}}),
        ),
        bluegreen("on a clone", with_database(LOSSY), Some("v1"), "v2", &["web"], migrating("clone")),
        bluegreen("on hold", with_database(LOSSY), Some("v1"), "v2", &["web"], migrating("hold")),
        bluegreen(
            "routed: on a clone",
            routed_database(),
            Some("v1"),
            "v2",
            &["web"],
            migrating_behind_a_route("clone"),
        ),
        bluegreen("routed: on hold", routed_database(), Some("v1"), "v2", &["web"], migrating_behind_a_route("hold")),
        bluegreen(
            "compose took over",
            composed(true),
            Some("v1"),
            "v2",
            &["web"],
            json!({"compose": {"file": "docker-compose.yml"}}),
        ),
        bluegreen(
            "compose takes over",
            composed(false),
            Some("v1"),
            "v2",
            &["web"],
            json!({"compose": {"file": "docker-compose.yml"}}),
        ),
        bluegreen(
            "routed: first",
            Scenario::default(),
            None,
            "v2",
            &["web"],
            json!({"traffic": {"driver": "proxy", "keep_warm": "2s"}}),
        ),
        bluegreen(
            "routed",
            routed("web:v1"),
            Some("v1"),
            "v2",
            &["web"],
            json!({"traffic": {"driver": "proxy", "keep_warm": "2s"}}),
        ),
        safe(
            "safe: routed",
            committed_behind_a_route("web:live", "a"),
            Some("old"),
            json!({"new_port": 8081, "traffic": {"driver": "proxy", "keep_warm": "2s"}}),
        ),
        other(
            "rollback: routed",
            "rollback.rhai",
            json!({"service": "web", "bake": "1s"}),
            previous_behind_a_route,
            "v2",
            "v1",
        ),
        safe("safe: rebuild", committed("web:live", "a"), Some("old"), json!({})),
        safe("safe: restart", restarted, Some("ok"), json!({"action": "restart"})),
        safe("safe: first", Scenario::default(), None, json!({})),
        other(
            "canary",
            "canary.rhai",
            crate::canary::params(),
            crate::canary::site(SimResponse { takes_ms: 20, ..SimResponse::default() }, 100),
            "v1",
            "v2",
        ),
        other("take port", "take_port.rhai", json!({"service": "web", "bake": "1s"}), with_blue("web:v1"), "v1", "v1"),
        other("rollback", "rollback.rhai", json!({"service": "web", "bake": "1s"}), previous, "v2", "v1"),
    ]
}

/// Counts how often each kind of effect reaches the world before a rollback, including reads of the prior state.
fn effect_counts(finished: &FinishedRun) -> BTreeMap<String, u32> {
    let mut effect_counts = BTreeMap::new();
    for intent in finished.intents() {
        let effect = Effect::decode(&intent.kind, intent.args.clone()).unwrap();
        if effect.spec().access() == Access::Write
            && let Some(prior) = effect.spec().prior()
        {
            *effect_counts.entry(prior.kind().to_owned()).or_default() += 1;
        }
        *effect_counts.entry(intent.kind).or_default() += 1;
    }
    effect_counts
}

#[test]
fn every_deploy_succeeds_without_faults() {
    for deploy in deploys() {
        let finished = deploy.test_run().run();
        assert_eq!(finished.status(), RunStatus::Succeeded, "{}: {}", deploy.name, finished.report());
        let wrong = deploy.violations(&finished);
        assert!(wrong.is_empty(), "{}: {wrong:#?}", deploy.name);
    }
}

#[test]
fn every_fault_at_every_effect_is_handled() {
    let mut cases = 0;
    let mut failures: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for deploy in deploys() {
        for (kind, times) in effect_counts(&deploy.test_run().run()) {
            for (nth, fault) in (1..=times).flat_map(|nth| FAULTS.map(|fault| (nth, fault))) {
                let rule = FaultRule { kind: kind.clone(), subject: String::new(), nth, fault };
                let finished = deploy.test_run().fault(rule).run();
                cases += 1;
                for wrong in deploy.violations(&finished) {
                    let end = finished.end();
                    let ending = format!("{}, committed {}: {wrong}", end.status, end.committed);
                    failures
                        .entry((deploy.name.to_owned(), ending))
                        .or_default()
                        .push(format!("{kind}#{nth} {fault:?}"));
                }
            }
        }
    }
    let mut table = String::new();
    for ((deploy, ending), faults) in &failures {
        writeln!(table, "{deploy} -> {ending}\n    {}", faults.join(", ")).unwrap();
    }
    assert!(table.is_empty(), "of {cases} cases these ended wrong:\n{table}");
    assert!(cases > 1000, "only {cases}");
}

#[test]
fn a_cancel_at_every_entry_rolls_everything_back() {
    for deploy in deploys() {
        let entries = deploy.test_run().run().records().len() as u64;
        for at in 1..=entries {
            let finished = deploy.test_run().stop_at(at, Stop::Once).run();
            let wrong = deploy.violations(&finished);
            let end = finished.end();
            assert!(wrong.is_empty(), "{} at {at}: {} {wrong:#?}", deploy.name, end.status);
            let expected = matches!(end.status, RunStatus::Cancelled | RunStatus::Succeeded);
            assert!(expected, "{} at {at} of {entries}: {} {:?}", deploy.name, end.status, end.error);
        }
    }
}

#[test]
fn a_run_killed_at_every_entry_is_rolled_back_by_abort() {
    for deploy in deploys() {
        let whole = deploy.test_run().run();
        let entries = whole.records().len() as u64;
        for at in sampled(1..entries) {
            let finished = deploy.test_run().stop_at(at, Stop::Twice).run();
            if finished.status() != RunStatus::Running {
                assert_eq!(finished.status(), RunStatus::Succeeded, "{} at {at}", deploy.name);
                continue;
            }
            assert!(!finished.names().contains(&"run_ended"));
            finished.world.mark_run_dead(&finished.run);
            let end = finished.abort();
            let after = finished.world.snapshot();
            let context =
                format!("{} at {at} of {entries}: {:?} {:?}", deploy.name, end.remaining, finished.messages());
            assert_eq!(end.status, RunStatus::Aborted, "{context}");
            if end.committed {
                let answer = finished.world.response_on_port(PORT).map(|answer| answer.response.body);
                assert_eq!(answer.as_deref(), Some(deploy.new), "{context}");
            } else {
                assert_eq!(comparable(&after), comparable(&finished.before), "{context}");
            }
            assert!(after.locks.is_empty(), "{context}");
        }
    }
}
