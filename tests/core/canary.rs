//! The canary script on a simulated host: healthy ones are promoted, ill ones get no requests any more.

use deployer::journal::entry::{Intent, RunStatus};
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Behaviour, Page, Person, Placed, Scenario, SimImage};
use serde_json::{Value, json};

use crate::crash::{Crash, When};
use crate::deploys::{PORT, difference};
use crate::play::{Play, Played, play};

/// What the new version answers.
fn app(body: &str, page: Page) -> Behaviour {
    Behaviour { page: Page { body: body.into(), ..page }, ..Behaviour::default() }
}

fn page(takes_ms: u64) -> Page {
    Page { takes_ms, ..Page::default() }
}

/// `web` behind a route, with so many visitors a second.
pub fn site(new: Page, visitors_per_second: u64) -> Scenario {
    let spec = json!({
        "name": "web", "image": "web:v1", "ports": ["127.0.0.1:8081:5000"], "service": "web", "role": "live",
    });
    let mut scenario = Scenario {
        images: vec![SimImage::new("web:v1", app("v1", page(20))), SimImage::new("web:v2", app("v2", new))],
        containers: vec![Placed::new(serde_json::from_value(spec).unwrap())],
        visitors_per_second,
        ..Scenario::default()
    };
    let route = json!({
        "driver": "proxy",
        "route": {"service": "web", "address": format!("0.0.0.0:{PORT}"), "check": {"path": "/"}},
        "targets": [{"name": "blue", "address": "127.0.0.1:8081"}],
    });
    scenario.routes.insert("web".into(), serde_json::from_value(route).unwrap());
    scenario
}

pub fn given() -> Value {
    json!({
        "service": "web", "image": "web:v2", "traffic": {"keep_warm": "1s"},
        "steps": [{"weight": 10, "stay": "20s"}, {"weight": 50, "stay": "20s"}],
        "judge": {"patience": "20s"}, "approval": "10m",
        "notify": [{"channel": "webhook", "url": "http://hooks.test/x", "events": ["message"]}],
    })
}

fn canary(scenario: Scenario, more: Value) -> Play {
    let text = SHIPPED.iter().find(|(name, _)| *name == "canary.rhai").unwrap().1;
    let mut all = given();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    play(text).on(scenario).with(all)
}

fn serves(played: &Played) -> String {
    played.world.answer(PORT).unwrap().page.body
}

/// Everything is as before, and all requests went back in one switch.
fn aborted(played: &Played, why: &str) {
    assert_eq!(played.status(), RunStatus::Failed, "{}", played.report());
    assert!(played.report().contains(why), "{}", played.report());
    assert_eq!(played.before, played.after, "{}", difference(&played.before, &played.after));
    assert_eq!(serves(played), "v1");
    let undone = played.intents().into_iter().filter(|intent| intent.undoes.is_some());
    let steered: Vec<_> = undone.filter(|intent| intent.kind.starts_with("traffic_")).collect();
    let switch = steered.first().unwrap();
    assert_eq!(switch.kind, "traffic_switch");
    // Whatever is taken back later leaves the new version without requests.
    let gives_nothing = |intent: &Intent| match intent.kind.as_str() {
        "traffic_switch" => intent.args == switch.args,
        "traffic_set" => intent.args["targets"].as_array().unwrap().len() == 1,
        kind => kind == "traffic_route",
    };
    assert!(steered.iter().all(gives_nothing), "{steered:#?}");
}

#[test]
fn a_healthy_canary_is_promoted_as_it_is() {
    let played = canary(site(page(20), 100), json!({})).run();
    assert_eq!(played.status(), RunStatus::Succeeded, "{}", played.report());
    assert_eq!(serves(&played), "v2");
    assert_eq!(played.after.containers.keys().collect::<Vec<_>>(), ["web"]);
    let started = played.effects().iter().filter(|effect| effect.starts_with("docker_run")).count();
    assert_eq!(started, 1, "the container that was judged is the one that serves");
    assert_eq!(played.after.routes["web"].values().collect::<Vec<_>>(), [&1]);
    // The next one finds everything in its place.
    let next = canary(Scenario::default(), json!({"image": "web:v1"})).in_world(played.world.clone()).run();
    assert_eq!(next.status(), RunStatus::Succeeded, "{}", next.report());
    assert_eq!(serves(&next), "v1");
}

#[test]
fn an_ill_canary_gets_no_requests_any_more() {
    let two_percent = Page { fails_every: 50, ..page(20) };
    aborted(&canary(site(two_percent, 1_000), json!({})).run(), "failed requests: 2.00 %");
    aborted(&canary(site(page(26), 100), json!({})).run(), "slower");
    let dead = Page { fails_every: 2, ..page(20) };
    aborted(&canary(site(dead, 100), json!({})).run(), "failed requests: 50.00 %");
}

#[test]
fn no_data_never_passes_and_a_person_decides() {
    let quiet = || site(page(20), 0);
    let nobody = canary(quiet(), json!({})).run();
    aborted(&nobody, "nobody said yes in time");
    let told = nobody.world.sent();
    let message = told[0].message.as_deref().unwrap();
    assert!(message.contains("the new version had 0 requests, 50 are needed"), "{message}");

    let no = Person { approves: false, ..Person::default() };
    aborted(&canary(Scenario { people: vec![no], ..quiet() }, json!({})).run(), "somebody@here said no");
    let yes = Person::default();
    let played = canary(Scenario { people: vec![yes], ..quiet() }, json!({})).run();
    assert_eq!(played.status(), RunStatus::Succeeded, "{}", played.report());
    assert_eq!(serves(&played), "v2");
}

#[test]
fn gates_between_steps_are_kept() {
    let steps = json!([{"weight": 50, "stay": "20s", "approve": true}]);
    aborted(&canary(site(page(20), 100), json!({"steps": steps})).run(), "nobody said yes in time");
    let yes = Scenario { people: vec![Person::default()], ..site(page(20), 100) };
    assert_eq!(canary(yes, json!({"steps": steps})).run().status(), RunStatus::Succeeded);
    let budget = json!({"require": {"p99_ms": 10.0}});
    aborted(&canary(site(page(20), 100), budget).run(), "p99");
    let path = json!({"require": {"path": "/deep"}});
    let mut sick = site(page(20), 100);
    if let Some(image) = sick.images.last_mut() {
        let mut behaviour = app("v2", page(20));
        behaviour.paths.insert("/deep".into(), Page::status(503));
        image.behaviour = behaviour.into();
    }
    aborted(&canary(sick, path).run(), "did not become healthy");
}

#[test]
fn a_script_has_gates_of_its_own() {
    let text = SHIPPED.iter().find(|(name, _)| *name == "canary.rhai").unwrap().1;
    let own = text.replace(
        "        log(`${judged.verdict}:",
        "        if judged.candidate.requests < 1000000 { fail(\"not enough for me\"); }\n        log(`${judged.verdict}:",
    );
    assert_ne!(own, text);
    aborted(&play(&own).on(site(page(20), 100)).with(given()).run(), "not enough for me");
}

/// Killed while a person is waited for: the resumed run goes on waiting, and asks nobody twice.
#[test]
fn a_resumed_run_goes_on_waiting() {
    let ask = "params(#{}); lock(\"web\"); let answer = approval_wait(\"go on?\", #{timeout: \"10m\"}); answer.by";
    let person = Person { after_ms: 300_000, ..Person::default() };
    let scenario = Scenario { people: vec![person], ..Scenario::default() };
    let whole = play(ask).on(scenario.clone()).run();
    assert_eq!(whole.value(), "somebody@here");
    for at in 1..whole.records().len() as u64 {
        for when in [When::After(at), When::Before(at + 1)] {
            let played = play(ask).on(scenario.clone()).crash(Crash::new(when)).run();
            let end = played.resume();
            assert_eq!((end.status, end.value), (RunStatus::Succeeded, json!("somebody@here")), "{when:?}");
            let questions = played.effects().iter().filter(|effect| effect.starts_with("approval_wait")).count();
            assert!(questions <= 2, "{when:?}");
        }
    }
}
