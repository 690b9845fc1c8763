//! The simulated world: virtual time, app behaviour, and that the same scenario always has the same end.

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
    Behaviour, InitialContainer, Scenario, SimDatabase, SimImage, SimMachine, SimProgram, SimProject, SimResponse,
    SimService, SimVolume, SimWorld,
};
use deployer::world::{Call, World};
use futures_util::FutureExt;
use serde_json::{Value, json};

struct SimFixture {
    world: SimWorld,
    branch: Branch,
}

impl SimFixture {
    fn new(scenario: Scenario) -> Self {
        Self { world: SimWorld::new(scenario).unwrap(), branch: Branch::root() }
    }

    /// Performs a request. The simulated world is ready at its first poll.
    fn ask<R: Request>(&self, args: Value) -> Result<R::Reply, EffectError> {
        let call = Call::silent(RunId::from_bytes([1; 10]), self.branch.next(), Arc::new(Vault::empty()));
        let request: R = serde_json::from_value(args).unwrap();
        let outcome = self.world.perform(&call, &request.into()).now_or_never().expect("ready at the first poll")?;
        Ok(serde_json::from_value(outcome.value()).unwrap())
    }

    fn must<R: Request>(&self, args: Value) -> R::Reply {
        self.ask::<R>(args).unwrap_or_else(|error| panic!("{}: {error:?}", R::KIND))
    }

    fn error_kind<R: Request>(&self, args: Value) -> ErrorKind {
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
fn a_load_test_shows_when_an_app_becomes_unhealthy() {
    let unhealthy = Behaviour { boot_ms: 0, unhealthy_after_ms: Some(4_000), ..Behaviour::default() };
    let fixture =
        SimFixture::new(Scenario { images: vec![SimImage::new("web:ill", unhealthy)], ..Scenario::default() });
    fixture.must::<RunContainer>(web("web", "web:ill", 8080));
    let before = fixture.elapsed_ms();
    let load = fixture.must::<LoadTest>(json!({ "url": "http://localhost:8080/", "rate": 50, "duration": "8s" }));
    assert_eq!((load.planned, load.answered, load.statuses["2xx"] + load.statuses["5xx"]), (400, 400, 400), "{load:?}");
    assert!(load.failed > 100 && load.failed < 300 && load.failed == load.unexpected, "{load:?}");
    assert_eq!(fixture.elapsed_ms() - before, 8_000);
    let unreachable = fixture.must::<LoadTest>(json!({ "url": "http://localhost:9090/", "duration": "1s" }));
    assert_eq!((unreachable.errors.connect, unreachable.error_rate), (10, 1.0));
    assert_eq!(
        fixture.error_kind::<LoadTest>(json!({ "url": "http://localhost:8080/", "rate": 0 })),
        ErrorKind::Invalid
    );
}

#[test]
fn hours_pass_instantly() {
    let fixture = SimFixture::new(Scenario::default());
    assert_eq!(fixture.must::<Now>(json!({})).text, "2026-01-01T00:00:00Z");
    fixture.must::<Sleep>(json!({ "duration": "3h" }));
    assert_eq!(fixture.must::<Now>(json!({})).text, "2026-01-01T03:00:00Z");
}

#[test]
fn requests_reach_the_listener_of_a_port() {
    let fixture = SimFixture::new(Scenario {
        machine: SimMachine {
            foreign_listeners: BTreeMap::from([(22, SimResponse::default())]),
            ..SimMachine::default()
        },
        ..Scenario::default()
    });
    fixture.must::<RunContainer>(web("web", "web:v1", 8080));
    assert_eq!(fixture.world.response_on_port(8080), None, "the app is still booting");
    fixture.must::<WaitHealthy>(json!({ "container": "web", "path": "/" }));
    let response = fixture.world.response_on_port(8080).unwrap();
    assert_eq!((response.container.as_deref(), response.response.body.as_str()), (Some("web"), "v1"));
    assert_eq!(fixture.world.response_on_port(22).unwrap().container, None);
    assert_eq!(fixture.error_kind::<RunContainer>(web("second", "web:v2", 22)), ErrorKind::PortTaken);
    assert!(!fixture.must::<PortFree>(json!({ "port": 22 })).free);
    fixture.must::<StopContainer>(json!({ "container": "web" }));
    assert_eq!(fixture.world.response_on_port(8080), None);
}

#[test]
fn a_crash_loop_is_reported_as_a_died_container() {
    let fixture = SimFixture::new(Scenario::default());
    fixture.must::<RunContainer>(json!({ "name": "web", "image": "web:dies", "restart": "always" }));
    let error = fixture.ask::<WaitHealthy>(json!({ "container": "web", "timeout": "60s" })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContainerDied);
    assert_eq!(error.detail.as_deref(), Some("fatal: no configuration"));
    assert!(fixture.elapsed_ms() < 2_000, "at once: {}", fixture.elapsed_ms());
    fixture.must::<Sleep>(json!({ "duration": "10m" }));
    let lines = fixture.must::<deployer::effect::container::ReadLogs>(json!({ "container": "web" })).lines;
    assert!((10..30).contains(&lines.len()), "restarts with growing delays: {}", lines.len());
    fixture.must::<StopContainer>(json!({ "container": "web" }));
    fixture.must::<Sleep>(json!({ "duration": "1h" }));
    let web = fixture.must::<InspectContainer>(json!({ "container": "web" })).unwrap();
    assert_eq!(web.state, ContainerState::Exited, "a container stopped by hand is not restarted");
}

#[test]
fn health_checks_of_the_engine_use_their_interval() {
    let fixture = SimFixture::new(Scenario::default());
    let healthcheck = json!({ "test": ["CMD", "true"], "interval": "5s", "retries": 2 });
    fixture.must::<RunContainer>(json!({ "name": "web", "image": "web:v1", "healthcheck": healthcheck }));
    let healthy = fixture.must::<WaitHealthy>(json!({ "container": "web" }));
    assert!((4_500..6_000).contains(&healthy.waited_ms), "{healthy:?}");
    fixture.must::<RunContainer>(json!({ "name": "bad", "image": "web:broken", "healthcheck": healthcheck }));
    let before = fixture.elapsed_ms();
    assert_eq!(fixture.error_kind::<WaitHealthy>(json!({ "container": "bad" })), ErrorKind::Unhealthy);
    assert!((9_500..11_500).contains(&(fixture.elapsed_ms() - before)), "after two failures");
}

#[test]
fn out_of_memory_kills_the_newest_container() {
    let hungry = SimImage::new("hungry", Behaviour { memory_mb: 5000, ..Behaviour::default() });
    let fixture = SimFixture::new(Scenario { images: vec![hungry], ..Scenario::bare() });
    fixture.must::<RunContainer>(json!({ "name": "first", "image": "hungry" }));
    assert_eq!(fixture.must::<HostMemory>(json!({})).available_mb, Some(8192 - 1024 - 5000));
    fixture.must::<RunContainer>(json!({ "name": "second", "image": "hungry" }));
    assert_eq!(fixture.error_kind::<WaitHealthy>(json!({ "container": "second" })), ErrorKind::ContainerDied);
    let second = fixture.must::<InspectContainer>(json!({ "container": "second" })).unwrap();
    assert_eq!((second.oom_killed, second.exit_code), (true, Some(137)));
}

#[test]
fn an_app_may_become_unhealthy_later() {
    let unhealthy = SimImage::new("ill", Behaviour { unhealthy_after_ms: Some(30_000), ..Behaviour::default() });
    let fixture = SimFixture::new(Scenario { images: vec![unhealthy], ..Scenario::bare() });
    fixture.must::<RunContainer>(web("web", "ill", 80));
    fixture.must::<WaitHealthy>(json!({ "url": "http://localhost" }));
    fixture.must::<Sleep>(json!({ "duration": "1m" }));
    assert_eq!(fixture.world.response_on_port(80).unwrap().response.status, 500);
}

#[test]
fn compose_starts_dependencies_in_order() {
    let service = |image: &str, depends_on: &[&str]| SimService {
        container: serde_json::from_value(json!({ "name": "", "image": image })).unwrap(),
        depends_on: depends_on.iter().map(ToString::to_string).collect(),
        build: None,
        behaviour: None,
    };
    let services =
        [("web", service("web:v1", &["db"])), ("db", service("web:v2", &[])), ("job", service("nothing", &[]))];
    let services = services.into_iter().map(|(name, service)| (name.to_owned(), service)).collect();
    let project = SimProject { name: "shop".into(), services, refused: None };
    let fixture =
        SimFixture::new(Scenario { projects: BTreeMap::from([("c.yml".into(), project)]), ..Scenario::default() });
    let up = json!({ "file": "c.yml", "services": ["web"] });
    let made = fixture.must::<ComposeUp>(up.clone());
    assert_eq!(made[0].name, "shop_web_1");
    let all = fixture.must::<ListContainers>(json!({}));
    assert_eq!(all.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(), ["shop_web_1", "shop_db_1"]);
    assert_eq!(fixture.must::<ComposeUp>(up)[0].id, made[0].id, "`compose_up` again changes nothing");
    assert_eq!(fixture.error_kind::<ComposeUp>(json!({ "file": "c.yml", "services": ["job"] })), ErrorKind::Failed);
    assert_eq!(fixture.error_kind::<ComposeUp>(json!({ "file": "no.yml" })), ErrorKind::NotFound);
    assert_eq!(fixture.must::<ComposeConfig>(json!({ "file": "c.yml" }))["services"]["db"]["image"], "web:v2");
    fixture.must::<ComposeStop>(json!({ "file": "c.yml", "remove": true }));
    assert!(fixture.must::<ComposePs>(json!({ "file": "c.yml" })).is_empty());
}

#[test]
fn databases_run_real_sql() {
    let row = |id: i64| json!({ "id": id, "name": format!("user {id}") }).as_object().unwrap().clone();
    let users =
        SimDatabase { tables: BTreeMap::from([("users".into(), vec![row(1), row(2)])]), ..SimDatabase::default() };
    let databases = BTreeMap::from([
        ("app.db".to_owned(), users),
        ("bad.db".to_owned(), SimDatabase { corrupt: true, ..SimDatabase::default() }),
    ]);
    let seed = SimProgram {
        inserts: BTreeMap::from([("data:new.db".into(), BTreeMap::from([("users".into(), vec![row(3)])]))]),
        ..SimProgram::default()
    };
    let fixture = SimFixture::new(Scenario {
        volumes: BTreeMap::from([("data".into(), SimVolume { databases, ..SimVolume::default() })]),
        programs: BTreeMap::from([
            ("seed".into(), seed),
            ("gone".into(), SimProgram { missing: true, ..SimProgram::default() }),
        ]),
        ..Scenario::default()
    });
    let check = |path: &str| json!({ "volume": "data", "path": path });
    let checked = fixture.must::<CheckSqlite>(check("app.db"));
    assert_eq!((checked.empty, checked.tables["users"]), (false, 2));
    let query = |sql: &str| json!({ "volume": "data", "path": "app.db", "sql": sql, "params": [1] });
    let rows = fixture.must::<QuerySqlite>(query("SELECT name FROM users WHERE id > ?"));
    assert_eq!(rows[0]["name"], "user 2");
    assert_eq!(fixture.error_kind::<QuerySqlite>(query("DELETE FROM users WHERE id = ?")), ErrorKind::Invalid);
    assert_eq!(fixture.error_kind::<CheckSqlite>(check("bad.db")), ErrorKind::DatabaseCorrupt);
    assert_eq!(fixture.error_kind::<CheckSqlite>(check("new.db")), ErrorKind::NotFound);
    fixture.must::<Exec>(json!({ "command": ["seed"] }));
    assert!(!fixture.must::<CheckSqlite>(check("new.db")).empty);
    assert_eq!(fixture.error_kind::<Exec>(json!({ "command": ["gone"] })), ErrorKind::MissingTool);
}

#[test]
fn git_builds_registry_and_notifications() {
    let mut scenario = Scenario::default();
    scenario.repos.get_mut(".").unwrap().head = 0;
    scenario.registry.insert("far:1".into(), SimImage::new("far:1", Behaviour::default()));
    scenario.outbox.fails = Some("no route".into());
    let fixture = SimFixture::new(scenario);
    assert!(fixture.must::<GitPull>(json!({})).updated);
    assert_eq!(fixture.must::<GitHead>(json!({})).unwrap().commit, "b".repeat(40));
    assert_eq!(fixture.must::<GitChanged>(json!({ "from": "HEAD~1" })).paths, ["app.py"]);
    assert_eq!(fixture.must::<BuildImage>(json!({ "context": ".", "tag": "app" })).tags, ["app:latest"]);
    assert_eq!(fixture.error_kind::<BuildImage>(json!({ "context": "x", "tag": "app" })), ErrorKind::NotFound);
    assert_eq!(fixture.must::<PullImage>(json!({ "image": "far:1" })).tags, ["far:1"]);
    assert_eq!(fixture.error_kind::<PullImage>(json!({ "image": "far:2" })), ErrorKind::NotFound);
    let notified = fixture.must::<Notify>(json!({ "channel": "slack", "url": "http://hook" }));
    assert_eq!((notified.delivered, notified.error.as_deref()), (false, Some("no route")));
    assert!(fixture.world.notifications().is_empty());
}

/// The container effects of a small blue-green deploy.
fn deploy(fixture: &SimFixture) {
    fixture.must::<RunContainer>(web("web", "web:v1", 8080));
    fixture.must::<WaitHealthy>(json!({ "container": "web", "path": "/" }));
    fixture.must::<RunContainer>(web("web-green", "web:v2", 8081));
    fixture.must::<WaitHealthy>(json!({ "container": "web-green", "path": "/", "successes": 3 }));
    fixture.must::<StopContainer>(json!({ "container": "web" }));
    for _ in 0..20 {
        fixture.must::<ListContainers>(json!({ "all": true }));
    }
}

#[test]
fn the_same_scenario_has_the_same_end() {
    let end = || {
        let fixture = SimFixture::new(Scenario::default());
        deploy(&fixture);
        (fixture.world.snapshot(), fixture.elapsed_ms())
    };
    assert_eq!(end(), end());
}

#[test]
fn a_scenario_survives_a_toml_round_trip() {
    let old = InitialContainer::new(serde_json::from_value(web("old", "web:v1", 80)).unwrap());
    let scenario = Scenario { containers: vec![old], ..Scenario::default() };
    let text = toml::to_string(&scenario).unwrap();
    assert_eq!(toml::from_str::<Scenario>(&text).unwrap(), scenario);
    assert_eq!(toml::from_str::<Scenario>("").unwrap(), Scenario::default());
    assert!(SimFixture::new(scenario).must::<InspectContainer>(json!({ "container": "old" })).unwrap().is_running());
}

#[test]
fn a_hundred_deploys_are_fast() {
    let began = std::time::Instant::now();
    for _ in 0..100 {
        deploy(&SimFixture::new(Scenario::default()));
    }
    let took = began.elapsed();
    println!("100 deploys of 25 effects: {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");
}
