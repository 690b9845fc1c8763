//! `bluegreen.rhai` with a real compose file: the cutover in the guide of the manual generator.

use crate::support;

use std::process::Command;

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
fn a_compose_service_that_does_not_become_healthy_is_replaced_with_the_green_image() {
    let app = compose_service();
    let v2 = apps::manual_image(&app.docker, "v2");
    app.docker.cli(&["tag", &v2, &latest(&app)]);
    write_compose_file(&app, "500");
    let config = app.config(&latest(&app)).replace("timeout = \"20s\"", "timeout = \"3s\"");
    app.deployer.deploy("bluegreen.rhai", &config).code(1);
    // As the guide says: the deploy failed, but the service works with the image that was checked.
    app.serves_alone("v2");
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
