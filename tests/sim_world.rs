//! The simulated world by itself: time, faults, and that the same scenario always ends the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::base::vault::Vault;
use deployer::effect::compose::{ComposeConfig, ComposePs, ComposeStop, ComposeUp};
use deployer::effect::container::{ContainerState, InspectContainer, ListContainers, RunContainer, StopContainer};
use deployer::effect::exec::Exec;
use deployer::effect::git::{GitChanged, GitHead, GitPull};
use deployer::effect::health::WaitHealthy;
use deployer::effect::host::{HostMemory, PortFree};
use deployer::effect::image::{BuildImage, PullImage};
use deployer::effect::load::LoadTest;
use deployer::effect::notify::Notify;
use deployer::effect::sqlite::{CheckSqlite, QuerySqlite};
use deployer::effect::time::{Now, Sleep};
use deployer::effect::{EffectError, ErrorKind, Request};
use deployer::world::sim::{
    Behaviour, Database, Machine, Page, Placed, Program, Project, Scenario, Service, SimImage, SimVolume, SimWorld,
};
use deployer::world::{Call, World};
use futures_util::FutureExt;
use serde_json::{Value, json};

struct Stage {
    world: SimWorld,
    branch: Branch,
}

impl Stage {
    fn new(scenario: Scenario) -> Self {
        Self { world: SimWorld::new(scenario).unwrap(), branch: Branch::root() }
    }

    /// The simulated world is done at its first poll.
    fn ask<R: Request>(&self, args: Value) -> Result<R::Reply, EffectError> {
        let call = Call::silent(RunId::from_bytes([1; 10]), self.branch.next(), Arc::new(Vault::empty()));
        let request: R = serde_json::from_value(args).unwrap();
        let outcome = self.world.perform(&call, &request.into()).now_or_never().expect("no real wait")?;
        Ok(serde_json::from_value(outcome.value()).unwrap())
    }

    fn must<R: Request>(&self, args: Value) -> R::Reply {
        self.ask::<R>(args).unwrap_or_else(|error| panic!("{}: {error:?}", R::KIND))
    }

    fn kind<R: Request>(&self, args: Value) -> ErrorKind {
        self.ask::<R>(args).err().expect("a failure").kind
    }

    fn elapsed_ms(&self) -> u64 {
        self.world.clock().steady_ms()
    }
}

fn web(name: &str, image: &str, port: u16) -> Value {
    json!({ "name": name, "image": image, "ports": [format!("{port}:5000")] })
}

#[test]
fn load_sees_an_app_fall_ill() {
    let ill = Behaviour { boot_ms: 0, sick_after_ms: Some(4_000), ..Behaviour::default() };
    let stage = Stage::new(Scenario { images: vec![SimImage::new("web:ill", ill)], ..Scenario::default() });
    stage.must::<RunContainer>(web("web", "web:ill", 8080));
    let before = stage.elapsed_ms();
    let load = stage.must::<LoadTest>(json!({ "url": "http://localhost:8080/", "rate": 50, "duration": "8s" }));
    assert_eq!((load.planned, load.answered, load.statuses["2xx"] + load.statuses["5xx"]), (400, 400, 400), "{load:?}");
    assert!(load.failed > 100 && load.failed < 300 && load.failed == load.unexpected, "{load:?}");
    assert_eq!(stage.elapsed_ms() - before, 8_000);
    let nobody = stage.must::<LoadTest>(json!({ "url": "http://localhost:9090/", "duration": "1s" }));
    assert_eq!((nobody.errors.connect, nobody.error_rate), (10, 1.0));
    assert_eq!(stage.kind::<LoadTest>(json!({ "url": "http://localhost:8080/", "rate": 0 })), ErrorKind::Invalid);
}

#[test]
fn hours_pass_at_once() {
    let stage = Stage::new(Scenario::default());
    assert_eq!(stage.must::<Now>(json!({})).text, "2026-01-01T00:00:00Z");
    stage.must::<Sleep>(json!({ "duration": "3h" }));
    assert_eq!(stage.must::<Now>(json!({})).text, "2026-01-01T03:00:00Z");
}

#[test]
fn visitors_see_who_listens() {
    let stage = Stage::new(Scenario {
        machine: Machine { strangers: BTreeMap::from([(22, Page::default())]), ..Machine::default() },
        ..Scenario::default()
    });
    stage.must::<RunContainer>(web("web", "web:v1", 8080));
    assert_eq!(stage.world.answer(8080), None, "it is still booting");
    stage.must::<WaitHealthy>(json!({ "container": "web", "path": "/" }));
    let answer = stage.world.answer(8080).unwrap();
    assert_eq!((answer.container.as_deref(), answer.page.body.as_str()), (Some("web"), "v1"));
    assert_eq!(stage.world.answer(22).unwrap().container, None);
    assert_eq!(stage.kind::<RunContainer>(web("second", "web:v2", 22)), ErrorKind::PortTaken);
    assert!(!stage.must::<PortFree>(json!({ "port": 22 })).free);
    stage.must::<StopContainer>(json!({ "container": "web" }));
    assert_eq!(stage.world.answer(8080), None);
}

#[test]
fn a_crash_loop_is_seen_as_death() {
    let stage = Stage::new(Scenario::default());
    stage.must::<RunContainer>(json!({ "name": "web", "image": "web:dies", "restart": "always" }));
    let error = stage.ask::<WaitHealthy>(json!({ "container": "web", "timeout": "60s" })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerDied);
    assert_eq!(error.detail.as_deref(), Some("fatal: no configuration"));
    assert!(stage.elapsed_ms() < 2_000, "at once: {}", stage.elapsed_ms());
    stage.must::<Sleep>(json!({ "duration": "10m" }));
    let lines = stage.must::<deployer::effect::container::ReadLogs>(json!({ "container": "web" })).lines;
    assert!((10..30).contains(&lines.len()), "longer and longer pauses: {}", lines.len());
    stage.must::<StopContainer>(json!({ "container": "web" }));
    stage.must::<Sleep>(json!({ "duration": "1h" }));
    let web = stage.must::<InspectContainer>(json!({ "container": "web" })).unwrap();
    assert_eq!(web.state, ContainerState::Exited, "who is stopped by hand stays stopped");
}

#[test]
fn health_checks_of_the_engine_take_their_intervals() {
    let stage = Stage::new(Scenario::default());
    let healthcheck = json!({ "test": ["CMD", "true"], "interval": "5s", "retries": 2 });
    stage.must::<RunContainer>(json!({ "name": "web", "image": "web:v1", "healthcheck": healthcheck }));
    let healthy = stage.must::<WaitHealthy>(json!({ "container": "web" }));
    assert!((4_500..6_000).contains(&healthy.waited_ms), "{healthy:?}");
    stage.must::<RunContainer>(json!({ "name": "bad", "image": "web:broken", "healthcheck": healthcheck }));
    let before = stage.elapsed_ms();
    assert_eq!(stage.kind::<WaitHealthy>(json!({ "container": "bad" })), ErrorKind::Unhealthy);
    assert!((9_500..11_500).contains(&(stage.elapsed_ms() - before)), "after two failures");
}

#[test]
fn too_little_memory_kills_the_newest() {
    let hungry = SimImage::new("hungry", Behaviour { memory_mb: 5000, ..Behaviour::default() });
    let stage = Stage::new(Scenario { images: vec![hungry], ..Scenario::bare() });
    stage.must::<RunContainer>(json!({ "name": "first", "image": "hungry" }));
    assert_eq!(stage.must::<HostMemory>(json!({})).available_mb, Some(8192 - 1024 - 5000));
    stage.must::<RunContainer>(json!({ "name": "second", "image": "hungry" }));
    assert_eq!(stage.kind::<WaitHealthy>(json!({ "container": "second" })), ErrorKind::ContainerDied);
    let second = stage.must::<InspectContainer>(json!({ "container": "second" })).unwrap();
    assert_eq!((second.oom_killed, second.exit_code), (true, Some(137)));
}

#[test]
fn an_app_may_fall_ill_later() {
    let ill = SimImage::new("ill", Behaviour { sick_after_ms: Some(30_000), ..Behaviour::default() });
    let stage = Stage::new(Scenario { images: vec![ill], ..Scenario::bare() });
    stage.must::<RunContainer>(web("web", "ill", 80));
    stage.must::<WaitHealthy>(json!({ "url": "http://localhost" }));
    stage.must::<Sleep>(json!({ "duration": "1m" }));
    assert_eq!(stage.world.answer(80).unwrap().page.status, 500);
}

#[test]
fn compose_starts_what_is_needed_in_order() {
    let service = |image: &str, depends_on: &[&str]| Service {
        container: serde_json::from_value(json!({ "name": "", "image": image })).unwrap(),
        depends_on: depends_on.iter().map(ToString::to_string).collect(),
        build: None,
        behaviour: None,
    };
    let services =
        [("web", service("web:v1", &["db"])), ("db", service("web:v2", &[])), ("job", service("nothing", &[]))];
    let services = services.into_iter().map(|(name, service)| (name.to_owned(), service)).collect();
    let project = Project { name: "shop".into(), services, refused: None };
    let stage = Stage::new(Scenario { projects: BTreeMap::from([("c.yml".into(), project)]), ..Scenario::default() });
    let up = json!({ "file": "c.yml", "services": ["web"] });
    let made = stage.must::<ComposeUp>(up.clone());
    assert_eq!(made[0].name, "shop_web_1");
    let all = stage.must::<ListContainers>(json!({}));
    assert_eq!(all.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["shop_web_1", "shop_db_1"]);
    assert_eq!(stage.must::<ComposeUp>(up)[0].id, made[0].id, "nothing to do");
    assert_eq!(stage.kind::<ComposeUp>(json!({ "file": "c.yml", "services": ["job"] })), ErrorKind::Failed);
    assert_eq!(stage.kind::<ComposeUp>(json!({ "file": "no.yml" })), ErrorKind::NotFound);
    assert_eq!(stage.must::<ComposeConfig>(json!({ "file": "c.yml" }))["services"]["db"]["image"], "web:v2");
    stage.must::<ComposeStop>(json!({ "file": "c.yml", "remove": true }));
    assert!(stage.must::<ComposePs>(json!({ "file": "c.yml" })).is_empty());
}

#[test]
fn databases_answer_real_sql() {
    let row = |id: i64| json!({ "id": id, "name": format!("user {id}") }).as_object().unwrap().clone();
    let users = Database { tables: BTreeMap::from([("users".into(), vec![row(1), row(2)])]), ..Database::default() };
    let databases = BTreeMap::from([
        ("app.db".to_owned(), users),
        ("bad.db".to_owned(), Database { corrupt: true, ..Database::default() }),
    ]);
    let seed = Program {
        inserts: BTreeMap::from([("data:new.db".into(), BTreeMap::from([("users".into(), vec![row(3)])]))]),
        ..Program::default()
    };
    let stage = Stage::new(Scenario {
        volumes: BTreeMap::from([("data".into(), SimVolume { databases, ..SimVolume::default() })]),
        programs: BTreeMap::from([
            ("seed".into(), seed),
            ("gone".into(), Program { missing: true, ..Program::default() }),
        ]),
        ..Scenario::default()
    });
    let check = |path: &str| json!({ "volume": "data", "path": path });
    let checked = stage.must::<CheckSqlite>(check("app.db"));
    assert_eq!((checked.empty, checked.tables["users"]), (false, 2));
    let query = |sql: &str| json!({ "volume": "data", "path": "app.db", "sql": sql, "params": [1] });
    let rows = stage.must::<QuerySqlite>(query("SELECT name FROM users WHERE id > ?"));
    assert_eq!(rows[0]["name"], "user 2");
    assert_eq!(stage.kind::<QuerySqlite>(query("DELETE FROM users WHERE id = ?")), ErrorKind::Invalid);
    assert_eq!(stage.kind::<CheckSqlite>(check("bad.db")), ErrorKind::DatabaseCorrupt);
    assert_eq!(stage.kind::<CheckSqlite>(check("new.db")), ErrorKind::NotFound);
    stage.must::<Exec>(json!({ "command": ["seed"] }));
    assert!(!stage.must::<CheckSqlite>(check("new.db")).empty);
    assert_eq!(stage.kind::<Exec>(json!({ "command": ["gone"] })), ErrorKind::MissingTool);
}

#[test]
fn git_builds_registry_and_notifications() {
    let mut scenario = Scenario::default();
    scenario.repos.get_mut(".").unwrap().head = 0;
    scenario.registry.insert("far:1".into(), SimImage::new("far:1", Behaviour::default()));
    scenario.outbox.fails = Some("no route".into());
    let stage = Stage::new(scenario);
    assert!(stage.must::<GitPull>(json!({})).updated);
    assert_eq!(stage.must::<GitHead>(json!({})).unwrap().commit, "b".repeat(40));
    assert_eq!(stage.must::<GitChanged>(json!({ "from": "HEAD~1" })).paths, ["app.py"]);
    assert_eq!(stage.must::<BuildImage>(json!({ "context": ".", "tag": "app" })).tags, ["app:latest"]);
    assert_eq!(stage.kind::<BuildImage>(json!({ "context": "x", "tag": "app" })), ErrorKind::NotFound);
    assert_eq!(stage.must::<PullImage>(json!({ "image": "far:1" })).tags, ["far:1"]);
    assert_eq!(stage.kind::<PullImage>(json!({ "image": "far:2" })), ErrorKind::NotFound);
    let notified = stage.must::<Notify>(json!({ "channel": "slack", "url": "http://hook" }));
    assert_eq!((notified.delivered, notified.error.as_deref()), (false, Some("no route")));
    assert!(stage.world.sent().is_empty());
}

/// The container work of a small blue-green deploy.
fn deploy(stage: &Stage) {
    stage.must::<RunContainer>(web("web", "web:v1", 8080));
    stage.must::<WaitHealthy>(json!({ "container": "web", "path": "/" }));
    stage.must::<RunContainer>(web("web-green", "web:v2", 8081));
    stage.must::<WaitHealthy>(json!({ "container": "web-green", "path": "/", "successes": 3 }));
    stage.must::<StopContainer>(json!({ "container": "web" }));
    for _ in 0..20 {
        stage.must::<ListContainers>(json!({ "all": true }));
    }
}

#[test]
fn the_same_scenario_ends_the_same() {
    let end = || {
        let stage = Stage::new(Scenario::default());
        deploy(&stage);
        (stage.world.snapshot(), stage.elapsed_ms())
    };
    assert_eq!(end(), end());
}

#[test]
fn a_scenario_is_plain_data() {
    let placed = Placed::new(serde_json::from_value(web("old", "web:v1", 80)).unwrap());
    let scenario = Scenario { containers: vec![placed], ..Scenario::default() };
    let text = toml::to_string(&scenario).unwrap();
    assert_eq!(toml::from_str::<Scenario>(&text).unwrap(), scenario);
    assert_eq!(toml::from_str::<Scenario>("").unwrap(), Scenario::default());
    assert!(Stage::new(scenario).must::<InspectContainer>(json!({ "container": "old" })).unwrap().is_running());
}

#[test]
fn a_hundred_deploys_take_no_time() {
    let began = std::time::Instant::now();
    for _ in 0..100 {
        deploy(&Stage::new(Scenario::default()));
    }
    let took = began.elapsed();
    println!("100 deploys of 25 effects: {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");
}
