//! `bluegreen.rhai` with a real compose file: the cut-over of the manual generator's guide.

mod support;

use std::process::Command;

use support::apps;
use support::scene::Scene;

/// A scene whose service is compose's own, in version 1, as a team has it before it meets deployer.
fn composed() -> Scene {
    let mut scene = Scene::new();
    let image = apps::manual(&scene.docker, "v1");
    scene.docker.cli(&["tag", &image, &latest(&scene)]);
    let file = write_compose_file(&scene, "200");
    let output = Command::new("docker-compose").args(["--file", &file, "up", "-d", "manual"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.tables = format!("[compose]\nfile = \"{file}\"\nservice = \"manual\"\n");
    scene.serves_alone("v1");
    scene
}

fn latest(scene: &Scene) -> String {
    format!("{}:latest", scene.service)
}

fn write_compose_file(scene: &Scene, health: &str) -> String {
    // The project's name comes from the folder, so each scene must have one of its own.
    let folder = scene.deployer.home().join(scene.docker.name("project"));
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
        image = latest(scene),
        name = scene.service,
        port = scene.port,
        volume = scene.volume,
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn compose_brings_up_the_release_that_was_proved_as_green() {
    let scene = composed();
    let v2 = apps::manual(&scene.docker, "v2");
    scene.docker.cli(&["tag", &v2, &latest(&scene)]);
    scene.deploy(&latest(&scene)).ok();
    scene.serves_alone("v2");
    let labels = &scene.docker.inspect(&scene.service)["Config"]["Labels"];
    assert_eq!(labels["com.docker.compose.service"], "manual", "the service is still compose's: {labels}");
}

#[test]
fn a_compose_service_that_does_not_get_healthy_is_replaced_by_the_green_image() {
    let scene = composed();
    let v2 = apps::manual(&scene.docker, "v2");
    scene.docker.cli(&["tag", &v2, &latest(&scene)]);
    write_compose_file(&scene, "500");
    let config = scene.config(&latest(&scene)).replace("timeout = \"20s\"", "timeout = \"3s\"");
    scene.deployer.deploy("bluegreen.rhai", &config).code(1);
    // As the guide says: the deploy failed, and the service works, on the image that was proved.
    scene.serves_alone("v2");
}

#[test]
fn a_broken_release_never_reaches_compose() {
    let scene = composed();
    let before = scene.fingerprint();
    let broken = scene.release("v3", "ENV HEALTH=500");
    scene.docker.cli(&["tag", &broken, &latest(&scene)]);
    let config = scene.config(&latest(&scene)).replace("timeout = \"20s\"", "timeout = \"2s\"");
    scene.deployer.deploy("bluegreen.rhai", &config).code(1);
    assert_eq!(scene.fingerprint(), before);
    scene.serves_alone("v1");
}
