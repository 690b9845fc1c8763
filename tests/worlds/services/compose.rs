//! Compose effects, with the compose program and the Docker daemon of this machine.

use std::process::{Command, Output, Stdio};

use deployer::effect::ErrorKind;
use deployer::effect::container::Container;
use serde_json::{Value, json};

use super::{Fixture, SECRET};
use crate::support::fake_engine::FakeEngine;

/// A compose project with its own image. Everything is removed on drop.
struct Project {
    name: String,
    folder: tempfile::TempDir,
}

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).output().expect("the docker program is installed")
}

impl Project {
    fn new(word: &str) -> Self {
        let name = format!("svc{word}{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::copy("/bin/busybox", folder.path().join("bin/busybox")).expect("busybox-static is installed");
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .args(["-c", "bin"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let imported =
            Command::new("docker").args(["import", "-", &name]).stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        tar.wait().unwrap();
        let service = |extra: &str| {
            format!(
                "    image: {name}\n    command: ['/bin/busybox', 'sleep', '3600']\n    init: true\n    stop_grace_period: 1s\n{extra}"
            )
        };
        let text = format!(
            "version: '3.7'\nservices:\n  web:\n{}  worker:\n{}",
            service("    environment:\n      KEY: '${KEY}'\n      PORT: '5000'\n"),
            service("")
        );
        std::fs::write(folder.path().join("compose.yml"), text).unwrap();
        Self { name, folder }
    }

    fn args(&self, extra: Value) -> Value {
        let secret = json!({"secret_text": [{"secret": "TOKEN"}]});
        let file = self.folder.path().join("compose.yml");
        let mut args = json!({"file": file, "project": self.name, "environment": {"KEY": secret}});
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        args
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let ids = String::from_utf8(docker(&["ps", "-a", "-q", "--filter", &filter]).stdout).unwrap();
        for id in ids.lines() {
            docker(&["rm", "-f", "-v", id]);
        }
        docker(&["network", "rm", &format!("{}_default", self.name)]);
        docker(&["rmi", "-f", &self.name]);
    }
}

/// The fields of a container that these tests use.
fn inspect(id: &str) -> Option<Container> {
    let found: Value = serde_json::from_slice(&docker(&["inspect", "--type", "container", id]).stdout).ok()?;
    let found = found.get(0)?;
    serde_json::from_value(json!({
        "id": found["Id"], "name": found["Name"].as_str()?.trim_start_matches('/'), "image": found["Config"]["Image"],
        "image_id": found["Image"], "state": found["State"]["Status"], "labels": found["Config"]["Labels"],
    }))
    .ok()
}

fn fixture() -> Fixture {
    Fixture::over(FakeEngine { compose: Some(Vec::new()), inspect: Some(inspect), ..FakeEngine::default() })
}

fn services(containers: &Value) -> Vec<(String, String)> {
    let label = |container: &Value| container["labels"]["com.docker.compose.service"].as_str().unwrap().to_owned();
    let all = containers.as_array().unwrap().iter();
    all.map(|container| (label(container), container["state"].as_str().unwrap().to_owned())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(service, state)| ((*service).into(), (*state).into())).collect()
}

#[tokio::test]
async fn a_project_is_started_listed_and_stopped() {
    let project = Project::new("life");
    let fixture = fixture();
    let none = fixture.ask("compose_ps", project.args(json!({}))).await.unwrap();
    assert_eq!(none, json!([]));
    let web = fixture.ask("compose_up", project.args(json!({"services": ["web"], "no_deps": true}))).await.unwrap();
    assert_eq!(services(&web), pairs(&[("web", "running")]));
    let all = fixture.ask("compose_up", project.args(json!({}))).await.unwrap();
    assert_eq!(services(&all), pairs(&[("web", "running"), ("worker", "running")]));
    assert_eq!(all[0]["id"], web[0]["id"], "a running service is not recreated");
    let again = project.args(json!({"services": ["web"], "force_recreate": true}));
    assert_ne!(fixture.ask("compose_up", again).await.unwrap()[0]["id"], web[0]["id"]);
    let copies: Vec<String> = fixture.engine.containers.lock().unwrap().keys().cloned().collect();
    let id = web[0]["id"].as_str().unwrap();
    assert!(matches!(&copies[..], [copy] if copy.ends_with(&format!("-before-{}", &id[..12]))), "{copies:?}");
    fixture.ask("compose_stop", project.args(json!({"services": ["worker"]}))).await.unwrap();
    let ps = fixture.ask("compose_ps", project.args(json!({}))).await.unwrap();
    assert_eq!(services(&ps), pairs(&[("web", "running"), ("worker", "exited")]));
    fixture.ask("compose_stop", project.args(json!({"remove": true}))).await.unwrap();
    assert_eq!(fixture.ask("compose_ps", project.args(json!({}))).await.unwrap(), json!([]));
}

#[tokio::test]
async fn the_configuration_omits_the_values_of_variables() {
    let project = Project::new("config");
    let config = fixture().ask("compose_config", project.args(json!({}))).await.unwrap();
    assert_eq!(config["services"]["web"]["image"], json!(project.name));
    assert_eq!(config["services"]["web"]["environment"], json!(["KEY", "PORT"]));
    assert!(!config.to_string().contains(SECRET));
}

#[tokio::test]
async fn errors_include_the_output_of_compose() {
    let project = Project::new("fail");
    let fixture = fixture();
    let error = fixture.refused("compose_up", project.args(json!({"services": ["nope"]}))).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.detail.unwrap().contains("nope"));
    std::fs::write(project.folder.path().join("compose.yml"), "services: [").unwrap();
    assert_eq!(fixture.refused("compose_config", project.args(json!({}))).await.kind, ErrorKind::Failed);
    std::fs::remove_file(project.folder.path().join("compose.yml")).unwrap();
    assert_eq!(fixture.refused("compose_ps", project.args(json!({}))).await.kind, ErrorKind::NotFound);
    let unsupported = Fixture::new().refused("compose_ps", project.args(json!({}))).await;
    assert_eq!(unsupported.kind, ErrorKind::Unsupported);
}
