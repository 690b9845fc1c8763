//! The shipped scripts, with every fault at every effect in turn: whatever happens, the end is told truly, somebody
//! serves, and nothing is left over.

use std::collections::BTreeMap;
use std::fmt::Write;

use deployer::effect::{Access, Effect};
use deployer::gateway::fault::{FaultKind, FaultRule};
use deployer::journal::entry::RunStatus;
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Behaviour, Page, Placed, Project, Scenario, Service, SimImage, Snapshot};
use serde_json::{Value, json};

use crate::migrations::{LOSSY, migrating, with_database};
use crate::play::{Play, Played, Stop, play};
use crate::sample::sampled;

pub const FAULTS: [FaultKind; 4] =
    [FaultKind::Refused, FaultKind::Transient, FaultKind::TimeoutApplied, FaultKind::TimeoutNotApplied];
pub const PORT: u16 = 8080;

/// A shipped script in a situation that it is made for.
pub struct Deploy {
    pub name: &'static str,
    pub script: &'static str,
    pub given: Value,
    pub scenario: Scenario,
    /// Bodies of the answers on the public port.
    pub old: Option<&'static str>,
    pub new: &'static str,
    /// Containers at the end of a run that succeeded.
    pub names: &'static [&'static str],
    /// Whether a failure may leave the new image in the old one's place.
    pub back_by_image: bool,
}

impl Deploy {
    pub fn play(&self) -> Play {
        let text = SHIPPED.iter().find(|(name, _)| *name == self.script).unwrap().1;
        play(text).on(self.scenario.clone()).with(self.given.clone())
    }

    /// Whether the next deploy clears away what one left whose clean-up failed.
    fn heals(&self, played: &Played) -> bool {
        // Rolling back once more would go forward again.
        let name = match self.name {
            "rollback" => "blue-green",
            "rollback: routed" | "take port" => "routed",
            other => other,
        };
        let next = deploys().into_iter().find(|next| next.name == name);
        let again = next.unwrap().play().in_world(played.world.clone()).run();
        let names: Vec<&str> = again.after.containers.keys().map(String::as_str).collect();
        again.status() == RunStatus::Succeeded && names == ["web"]
    }

    /// What is wrong with this end.
    pub fn verdict(&self, played: &Played) -> Vec<String> {
        let end = played.end();
        let mut wrong = Vec::new();
        let answer = played.world.answer(PORT).map(|answer| answer.page.body);
        let names: Vec<&str> = played.after.containers.keys().map(String::as_str).collect();
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
                // What the clean-up could not do is told, and is no failure of the deploy.
                let told = committed_failure || played.said().iter().any(|text| text.contains("the next deploy"));
                if names != self.names && !(told && self.heals(played)) {
                    wrong.push(format!("containers are {names:?}"));
                }
            }
            RunStatus::Running | RunStatus::Unfinished | RunStatus::Aborted | RunStatus::Locked => {
                wrong.push("an end that this cannot be".into());
            }
            // The guide's own way back: compose made blue's container anew, so that green's image serves in its place.
            _ if self.back_by_image && answer.as_deref() == Some(self.new) && names == self.names => {}
            _ if comparable(&played.before) != comparable(&played.after) => {
                wrong.push(difference(&played.before, &played.after));
            }
            _ => {}
        }
        if end.status != RunStatus::Stuck && answer.as_deref() != self.old && answer.as_deref() != Some(self.new) {
            wrong.push(format!("{answer:?} serves"));
        }
        if !played.after.locks.is_empty() {
            wrong.push(format!("locks: {:?}", played.after.locks));
        }
        wrong
    }
}

/// Compose leaves the network of its project when its containers go; that is nobody's harm.
fn without_project_network(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    snapshot.networks.remove("site_default");
    snapshot
}

/// The same without what a restored database leaves beside itself on purpose: what it replaced.
pub fn comparable(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = without_project_network(snapshot);
    for volume in snapshot.volumes.values_mut() {
        volume.databases.retain(|path, _| !path.contains(".replaced-"));
    }
    snapshot
}

/// What differs, a line each.
pub fn difference(before: &Snapshot, after: &Snapshot) -> String {
    let (before, after) = (format!("{before:#?}"), format!("{after:#?}"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(&before), lines(&after));
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{}", line.trim()));
    let come = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{}", line.trim()));
    gone.chain(come).collect::<Vec<_>>().join(" ")
}

fn says(body: &str) -> Behaviour {
    Behaviour { page: Page { body: body.into(), ..Page::default() }, ..Behaviour::default() }
}

/// A container `web` on the public port that somebody else made.
pub fn placed(image: &str, more: Value) -> Placed {
    let mut spec = json!({"name": "web", "image": image, "ports": ["8080:5000"], "environment": {"A": "1"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Placed::new(serde_json::from_value(spec).unwrap())
}

fn with_blue(image: &str) -> Scenario {
    Scenario { containers: vec![placed(image, json!({}))], ..Scenario::default() }
}

/// `web` as a compose project with one service.
fn composed(labelled: bool) -> Scenario {
    let service = Service {
        container: serde_json::from_value(json!({"name": "web", "image": "web:v2", "ports": ["8080:5000"]})).unwrap(),
        depends_on: Vec::new(),
        build: None,
        behaviour: None,
    };
    let project =
        Project { name: "site".into(), services: BTreeMap::from([("web".to_owned(), service)]), refused: None };
    let labels = json!({"labels": {"com.docker.compose.project": "site", "com.docker.compose.service": "web"}});
    let blue = placed("web:v1", if labelled { labels } else { json!({}) });
    Scenario {
        containers: vec![blue],
        projects: BTreeMap::from([("docker-compose.yml".to_owned(), project)]),
        ..Scenario::default()
    }
}

pub fn committed(image: &str, commit: &str) -> Scenario {
    let mut scenario = Scenario::default();
    let mut old = SimImage::new(image, says("old"));
    old.labels.insert("deployer.commit".into(), commit.repeat(40));
    scenario.images.push(old);
    scenario.containers.push(placed(image, json!({})));
    scenario
}

/// `web` behind a route that the proxy drives.
fn behind_a_route(mut scenario: Scenario) -> Scenario {
    let spec = &mut scenario.containers[0].spec;
    *spec = serde_json::from_value(json!({
        "name": "web", "image": spec.image, "ports": ["127.0.0.1:8081:5000"], "service": "web", "role": "live",
        "labels": {"deployer.ports": "8081 8082"},
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

fn committed_behind_a_route(image: &str, commit: &str) -> Scenario {
    behind_a_route(committed(image, commit))
}

pub fn deploys() -> Vec<Deploy> {
    let bluegreen = |name, scenario, old, new, names, more: Value| {
        let mut given = json!({"service": "web", "image": "web:v2", "bake": "2s"});
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let back_by_image = name == "compose took over";
        Deploy { name, script: "bluegreen.rhai", given, scenario, old, new, names, back_by_image }
    };
    let hook = json!([{"channel": "webhook", "url": "http://hooks.test/x"}]);
    let mut former = with_blue("web:v2");
    former.images[0].names.push("web:rollback".into());
    let safe = |name, scenario, old, given: Value| {
        let mut all = json!({"service": "web", "container_port": 5000, "port": PORT, "bake": "1s"});
        all.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        let script = "safe_deploy.rhai";
        Deploy { name, script, given: all, scenario, old, new: "ok", names: &["web"], back_by_image: false }
    };
    let other = |name, script, given, scenario, old, new| Deploy {
        name,
        script,
        given,
        scenario,
        old: Some(old),
        new,
        names: &["web"],
        back_by_image: false,
    };
    let mut former_behind_a_route = routed("web:v2");
    former_behind_a_route.images[0].names.push("web:rollback".into());
    let mut restarted = committed("web:live", "b");
    restarted.images.last_mut().unwrap().behaviour = says("ok").into();
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
                "database": {"volume": "data", "path": "app.db", "seed": ["seed"]}}),
        ),
        bluegreen("on a clone", with_database(LOSSY), Some("v1"), "v2", &["web"], migrating("clone")),
        bluegreen("on hold", with_database(LOSSY), Some("v1"), "v2", &["web"], migrating("hold")),
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
            former_behind_a_route,
            "v2",
            "v1",
        ),
        safe("safe: rebuild", committed("web:live", "a"), Some("old"), json!({})),
        safe("safe: restart", restarted, Some("ok"), json!({"action": "restart"})),
        safe("safe: first", Scenario::default(), None, json!({})),
        other(
            "canary",
            "canary.rhai",
            crate::canary::given(),
            crate::canary::site(Page { takes_ms: 20, ..Page::default() }, 100),
            "v1",
            "v2",
        ),
        other("take port", "take_port.rhai", json!({"service": "web", "bake": "1s"}), with_blue("web:v1"), "v1", "v1"),
        other("rollback", "rollback.rhai", json!({"service": "web", "bake": "1s"}), former, "v2", "v1"),
    ]
}

/// How often each kind of effect reaches the world on the way forward, reads of the state before included.
fn reached(played: &Played) -> BTreeMap<String, u32> {
    let mut reached = BTreeMap::new();
    for intent in played.intents() {
        let effect = Effect::decode(&intent.kind, intent.args.clone()).unwrap();
        if effect.facts().access() == Access::Write
            && let Some(prior) = effect.facts().prior()
        {
            *reached.entry(prior.kind().to_owned()).or_default() += 1;
        }
        *reached.entry(intent.kind).or_default() += 1;
    }
    reached
}

#[test]
fn every_deploy_succeeds_where_nothing_goes_wrong() {
    for deploy in deploys() {
        let played = deploy.play().run();
        assert_eq!(played.status(), RunStatus::Succeeded, "{}: {}", deploy.name, played.report());
        let wrong = deploy.verdict(&played);
        assert!(wrong.is_empty(), "{}: {wrong:#?}", deploy.name);
    }
}

#[test]
fn every_fault_at_every_effect_ends_well() {
    let mut cases = 0;
    let mut bad: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for deploy in deploys() {
        for (kind, times) in reached(&deploy.play().run()) {
            for (nth, fault) in (1..=times).flat_map(|nth| FAULTS.map(|fault| (nth, fault))) {
                let rule = FaultRule { kind: kind.clone(), subject: String::new(), nth, fault };
                let played = deploy.play().fault(rule).run();
                cases += 1;
                for wrong in deploy.verdict(&played) {
                    let end = played.end();
                    let ending = format!("{}, committed {}: {wrong}", end.status, end.committed);
                    bad.entry((deploy.name.to_owned(), ending)).or_default().push(format!("{kind}#{nth} {fault:?}"));
                }
            }
        }
    }
    let mut table = String::new();
    for ((deploy, ending), faults) in &bad {
        writeln!(table, "{deploy} -> {ending}\n    {}", faults.join(", ")).unwrap();
    }
    assert!(table.is_empty(), "of {cases} cases these ended wrong:\n{table}");
    assert!(cases > 1000, "only {cases}");
}

#[test]
fn a_cancel_at_every_entry_takes_everything_back() {
    for deploy in deploys() {
        let entries = deploy.play().run().records().len() as u64;
        for at in 1..=entries {
            let played = deploy.play().stop_at(at, Stop::Once).run();
            let wrong = deploy.verdict(&played);
            let end = played.end();
            assert!(wrong.is_empty(), "{} at {at}: {} {wrong:#?}", deploy.name, end.status);
            let fits = matches!(end.status, RunStatus::Cancelled | RunStatus::Succeeded);
            assert!(fits, "{} at {at} of {entries}: {} {:?}", deploy.name, end.status, end.error);
        }
    }
}

#[test]
fn a_run_killed_at_every_entry_is_taken_back_by_abort() {
    for deploy in deploys() {
        let whole = deploy.play().run();
        let entries = whole.records().len() as u64;
        for at in sampled(1..entries) {
            let played = deploy.play().stop_at(at, Stop::Twice).run();
            if played.status() != RunStatus::Running {
                assert_eq!(played.status(), RunStatus::Succeeded, "{} at {at}", deploy.name);
                continue;
            }
            assert!(!played.names().contains(&"run_ended"));
            played.world.bury(&played.run);
            let end = played.abort();
            let after = played.world.snapshot();
            let place = format!("{} at {at} of {entries}: {:?} {:?}", deploy.name, end.remaining, played.said());
            assert_eq!(end.status, RunStatus::Aborted, "{place}");
            if end.committed {
                let answer = played.world.answer(PORT).map(|answer| answer.page.body);
                assert_eq!(answer.as_deref(), Some(deploy.new), "{place}");
            } else if !deploy.back_by_image {
                assert_eq!(comparable(&after), comparable(&played.before), "{place}");
            }
            assert!(after.locks.is_empty(), "{place}");
        }
    }
}
