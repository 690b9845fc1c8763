//! `bluegreen.rhai` with a real compose file: the cutover in the guide of the manual generator.

use crate::support;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use support::apps;
use support::manual_app::ManualApp;

/// Starts version 1 with compose, as a team would have it before it adopts deployer.
fn compose_service() -> ManualApp {
    let mut app = ManualApp::new();
    let image = apps::manual_image(&app.docker, "v1");
    app.docker.cli(&["tag", &image, &latest(&app)]);
    let file = write_compose_file(&app, "200");
    let output = Command::new("docker-compose").args(["--file", &file, "up", "-d", "manual"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    app.tables = format!("[compose]\nfile = \"{file}\"\nservice = \"manual\"\n");
    app.serves_alone("v1");
    app
}

fn latest(app: &ManualApp) -> String {
    format!("{}:latest", app.service)
}

fn write_compose_file(app: &ManualApp, health: &str) -> String {
    // Compose derives the project name from the folder, so each app needs its own folder.
    let folder = app.deployer.home().join(app.docker.name("project"));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("docker-compose.yml");
    let text = format!(
        r#"
version: "3.8"
services:
  manual:
    image: {image}
    container_name: {name}
    command: ["./startup.sh"]
    ports: ["{port}:5000"]
    environment:
      PORT: "5000"
      DATABASE_PATH: /app/instance/manual_generator.db
      HEALTH: "{health}"
    volumes: ["instance:/app/instance"]
volumes:
  instance:
    name: {volume}
"#,
        image = latest(app),
        name = app.service,
        port = app.port,
        volume = app.volume,
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn compose_starts_the_release_that_was_checked_as_green() {
    let app = compose_service();
    let v2 = apps::manual_image(&app.docker, "v2");
    app.docker.cli(&["tag", &v2, &latest(&app)]);
    app.deploy(&latest(&app)).ok();
    app.serves_alone("v2");
    let labels = &app.docker.inspect(&app.service)["Config"]["Labels"];
    assert_eq!(labels["com.docker.compose.service"], "manual", "the container still belongs to compose: {labels}");
}

#[test]
fn a_compose_service_that_does_not_become_healthy_is_restored_as_it_was() {
    let app = compose_service();
    let before = app.docker.inspect(&app.service);
    let v2 = apps::manual_image(&app.docker, "v2");
    app.docker.cli(&["tag", &v2, &latest(&app)]);
    write_compose_file(&app, "500");
    let config = app.config(&latest(&app)).replace("timeout = \"20s\"", "timeout = \"3s\"");
    app.deployer.deploy("bluegreen.rhai", &config).code(1);
    app.serves_alone("v1");
    assert_restored(&before, &app.docker.inspect(&app.service));
    assert_eq!(app.docker.current_containers(), ["manual"]);
}

/// Asserts that the container is configured as the one before, for compose too.
#[track_caller]
fn assert_restored(before: &Value, after: &Value) {
    for key in ["Image", "Args", "Path"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    for key in ["Env", "Cmd", "Entrypoint", "ExposedPorts"] {
        assert_eq!(before["Config"][key], after["Config"][key], "{key}");
    }
    let labels = |container: &Value| {
        let labels: BTreeMap<String, String> = serde_json::from_value(container["Config"]["Labels"].clone()).unwrap();
        labels.into_iter().filter(|(key, _)| key.starts_with("com.docker.compose.")).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(labels(before), labels(after));
    assert_eq!(before["HostConfig"]["PortBindings"], after["HostConfig"]["PortBindings"]);
    assert_eq!(before["HostConfig"]["Binds"], after["HostConfig"]["Binds"]);
    let volumes = |container: &Value| -> Vec<(String, String)> {
        let mounts = container["Mounts"].as_array().unwrap().iter();
        mounts.map(|mount| (mount["Name"].to_string(), mount["Destination"].to_string())).collect()
    };
    assert_eq!(volumes(before), volumes(after));
}

#[test]
fn what_compose_replaced_stopped_or_removed_is_restored() {
    let app = compose_service();
    let file = app.tables.split('"').nth(1).unwrap().to_owned();
    let options = "#{services: [\"manual\"]}";
    let undone = [
        format!("compose_up(\"{file}\", #{{services: [\"manual\"], force_recreate: true}}); fail(\"no\");"),
        format!("compose_stop(\"{file}\", {options}); fail(\"no\");"),
        format!("compose_stop(\"{file}\", #{{services: [\"manual\"], remove: true}}); fail(\"no\");"),
        format!("compose_stop(\"{file}\", {options}); compose_up(\"{file}\", {options}); fail(\"no\");"),
    ];
    for script in undone {
        let before = app.docker.inspect(&app.service);
        let path = app.deployer.file("compose.rhai", &script);
        app.deployer.run(&path, &[]).code(1).says("all changes rolled back");
        let after = app.docker.inspect(&app.service);
        assert_restored(&before, &after);
        assert_eq!(after["State"]["Running"], true, "{script}");
        assert_eq!(app.docker.current_containers(), ["manual"], "{script}");
        app.serves_alone("v1");
    }
}

#[test]
fn a_broken_release_never_reaches_compose() {
    let app = compose_service();
    let before = app.fingerprint();
    let broken = app.release("v3", "ENV HEALTH=500");
    app.docker.cli(&["tag", &broken, &latest(&app)]);
    let config = app.config(&latest(&app)).replace("timeout = \"20s\"", "timeout = \"2s\"");
    app.deployer.deploy("bluegreen.rhai", &config).code(1);
    assert_eq!(app.fingerprint(), before);
    app.serves_alone("v1");
}
