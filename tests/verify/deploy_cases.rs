//! Deploy cases: the shipped scripts, each with parameters and a host that it is made for.

use std::collections::BTreeMap;
use std::sync::Arc;

use deployer::verify::target::{Scenario, VerifyTarget};
use deployer::world::sim::{Behaviour, InitialContainer, SimImage, SimProgram, SimProject, SimResponse, SimService};
use serde_json::{Value, json};

use crate::fixture::{ModuleOverrides, shipped, target};

/// A shipped script with its parameters and a host.
pub struct DeployCase {
    pub name: &'static str,
    pub script: &'static str,
    pub params: Value,
    pub scenario: Scenario,
}

impl DeployCase {
    pub fn target(&self) -> VerifyTarget {
        self.with(shipped(self.script), ModuleOverrides::default())
    }

    pub fn with(&self, text: &str, modules: ModuleOverrides) -> VerifyTarget {
        target(self.script, text, modules, self.params.clone(), self.scenario.clone())
    }
}

fn responds_with(body: &str) -> Behaviour {
    Behaviour { response: SimResponse { body: body.into(), ..SimResponse::default() }, ..Behaviour::default() }
}

/// A container `web` on the public port, not created by deployer.
pub fn foreign_container(image: &str, overrides: Value) -> InitialContainer {
    let mut spec = json!({"name": "web", "image": image, "ports": ["8080:5000"], "restart": "unless-stopped"});
    spec.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    InitialContainer::new(serde_json::from_value(spec).unwrap())
}

pub fn with_blue(image: &str) -> Scenario {
    Scenario { containers: vec![foreign_container(image, json!({}))], ..Scenario::default() }
}

/// `web` as a compose project with one service.
pub fn composed(labelled: bool) -> Scenario {
    let service = json!({"name": "web", "image": "web:v2", "ports": ["8080:5000"], "restart": "unless-stopped"});
    let service = SimService {
        container: serde_json::from_value(service).unwrap(),
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

/// `web` with a database, and a new image whose migration adds a column.
fn with_database() -> Scenario {
    let mut scenario = Scenario {
        containers: vec![foreign_container("web:v1", json!({"volumes": ["data:/data"]}))],
        ..Scenario::default()
    };
    let sql = BTreeMap::from([("data:app.db".to_owned(), "ALTER TABLE notes ADD COLUMN tag".to_owned())]);
    let migrate = SimProgram { takes_ms: 500, sql, ..SimProgram::default() };
    let new = scenario.images.iter_mut().find(|image| image.names.iter().any(|name| name == "web:v2")).unwrap();
    Arc::make_mut(&mut new.behaviour).programs.insert("migrate".into(), migrate);
    let database = serde_json::from_value(json!({"tables": {"notes": [{"id": 1}, {"id": 2}]}})).unwrap();
    scenario.volumes.get_mut("data").unwrap().databases.insert("app.db".into(), database);
    scenario
}

fn migrating(mode: &str) -> Value {
    json!({"volumes": ["data:/data"], "database": {
        "volume": "data", "path": "app.db", "migrate": ["migrate"], "backup": "file:///var/backups", "mode": mode,
    }})
}

fn routed(mut params: Value) -> Value {
    params["traffic"] = json!({"driver": "proxy", "keep_warm": "3s"});
    params
}

fn committed(image: &str, commit: &str) -> Scenario {
    let mut scenario = Scenario::default();
    let mut old = SimImage::new(image, responds_with("old"));
    old.labels.insert("deployer.commit".into(), commit.repeat(40));
    scenario.images.push(old);
    scenario.containers.push(foreign_container(image, json!({})));
    scenario
}

pub fn bluegreen(name: &'static str, scenario: Scenario, overrides: Value) -> DeployCase {
    let mut params = json!({"service": "web", "image": "web:v2", "bake": "3s"});
    params.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    DeployCase { name, script: "bluegreen.rhai", params, scenario }
}

pub fn safe(name: &'static str, scenario: Scenario, overrides: Value) -> DeployCase {
    let mut params = json!({"service": "web", "container_port": 5000, "port": 8080, "bake": "3s"});
    params.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    DeployCase { name, script: "safe_deploy.rhai", params, scenario }
}

/// `web` behind a route that the proxy drives.
pub fn behind_a_route(scenario: Scenario) -> Scenario {
    driven_by("proxy", scenario)
}

/// `web` behind a route of this driver.
pub fn driven_by(driver: &str, mut scenario: Scenario) -> Scenario {
    let spec = &mut scenario.containers[0].spec;
    *spec = serde_json::from_value(json!({
        "name": "web", "image": spec.image, "ports": ["127.0.0.1:8081:5000"], "service": "web", "role": "live",
        "restart": "unless-stopped", "labels": {"deployer.ports": "8081 8082"}, "volumes": spec.volumes,
    }))
    .unwrap();
    let route = json!({
        "driver": driver,
        "route": {"service": "web", "address": "0.0.0.0:8080", "check": {"path": "/"}},
        "targets": [{"name": "blue", "address": "127.0.0.1:8081"}],
    });
    scenario.routes.insert("web".into(), serde_json::from_value(route).unwrap());
    scenario
}

/// A blue-green deploy behind a driver other than the embedded proxy.
pub fn by_driver(name: &'static str, driver: &str) -> DeployCase {
    let traffic = json!({"traffic": {"driver": driver, "keep_warm": "3s"}});
    bluegreen(name, driven_by(driver, with_blue("web:v1")), traffic)
}

/// A canary deploy in two steps, with enough traffic to judge it.
pub fn canary() -> DeployCase {
    let scenario = Scenario { requests_per_second: 200, ..behind_a_route(with_blue("web:v1")) };
    let params = json!({
        "service": "web", "image": "web:v2", "traffic": {"keep_warm": "3s"},
        "steps": [{"weight": 10, "stay": "20s"}, {"weight": 50, "stay": "20s"}],
    });
    DeployCase { name: "canary", script: "canary.rhai", params, scenario }
}

pub fn rollback() -> DeployCase {
    let mut previous = with_blue("web:v2");
    previous.images[0].names.push("web:rollback".into());
    let params = json!({"service": "web", "bake": "3s"});
    DeployCase { name: "rollback", script: "rollback.rhai", params, scenario: previous }
}

pub fn deploy_cases() -> Vec<DeployCase> {
    let hook = json!([{"channel": "webhook", "url": "http://hooks.test/x"}]);
    vec![
        bluegreen("blue-green", with_blue("web:v1"), json!({"notify": hook})),
        bluegreen("first", Scenario::default(), json!({})),
        bluegreen(
            "with a build and a database",
            with_blue("web:v1"),
            json!({"build": ".", "volumes": ["data:/data"], "memory_mb": 100,
                "database": {"volume": "data", "path": "app.db", "missing_ok": true, "seed": ["seed"]}}),
        ),
        bluegreen("compose takes over", composed(false), json!({"compose": {"file": "docker-compose.yml"}})),
        bluegreen("compose took over", composed(true), json!({"compose": {"file": "docker-compose.yml"}})),
        bluegreen("on a clone", with_database(), migrating("clone")),
        bluegreen("on hold", with_database(), migrating("hold")),
        bluegreen("routed: on a clone", behind_a_route(with_database()), routed(migrating("clone"))),
        bluegreen("routed: on hold", behind_a_route(with_database()), routed(migrating("hold"))),
        bluegreen(
            "routed",
            behind_a_route(with_blue("web:v1")),
            json!({"traffic": {"driver": "proxy", "keep_warm": "3s"}}),
        ),
        by_driver("by nginx", "nginx"),
        by_driver("by haproxy", "haproxy"),
        by_driver("by caddy", "caddy"),
        canary(),
        safe(
            "safe: routed",
            behind_a_route(committed("web:live", "a")),
            json!({"new_port": 8081, "traffic": {"driver": "proxy", "keep_warm": "3s"}}),
        ),
        safe("safe: rebuild", committed("web:live", "a"), json!({})),
        safe("safe: restart", committed("web:live", "b"), json!({"action": "restart"})),
        rollback(),
        DeployCase {
            name: "take port",
            script: "take_port.rhai",
            params: json!({"service": "web", "bake": "3s"}),
            scenario: with_blue("web:v1"),
        },
    ]
}
