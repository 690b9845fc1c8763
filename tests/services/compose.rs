//! Against the compose program and the Docker daemon of this machine.

use std::process::{Command, Output, Stdio};

use deployer::effect::ErrorKind;
use deployer::effect::container::Container;
use serde_json::{Value, json};

use super::support::twin_engine::TwinEngine;
use super::{Bench, SECRET};

/// A project with an image of its own; all of it vanishes when dropped.
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

/// As much of a container as these tests look at.
fn inspect(id: &str) -> Option<Container> {
    let found: Value = serde_json::from_slice(&docker(&["inspect", "--type", "container", id]).stdout).ok()?;
    let found = found.get(0)?;
    serde_json::from_value(json!({
        "id": found["Id"], "name": found["Name"].as_str()?.trim_start_matches('/'), "image": found["Config"]["Image"],
        "image_id": found["Image"], "state": found["State"]["Status"], "labels": found["Config"]["Labels"],
    }))
    .ok()
}

fn bench() -> Bench {
    Bench::over(TwinEngine { compose: Some(Vec::new()), inspect: Some(inspect), ..TwinEngine::default() })
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
async fn a_project_goes_up_is_seen_and_goes_down() {
    let project = Project::new("life");
    let bench = bench();
    let none = bench.ask("compose_ps", project.args(json!({}))).await.unwrap();
    assert_eq!(none, json!([]));
    let web = bench.ask("compose_up", project.args(json!({"services": ["web"], "no_deps": true}))).await.unwrap();
    assert_eq!(services(&web), pairs(&[("web", "running")]));
    let all = bench.ask("compose_up", project.args(json!({}))).await.unwrap();
    assert_eq!(services(&all), pairs(&[("web", "running"), ("worker", "running")]));
    assert_eq!(all[0]["id"], web[0]["id"], "what runs already is left alone");
    let again = project.args(json!({"services": ["web"], "force_recreate": true}));
    assert_ne!(bench.ask("compose_up", again).await.unwrap()[0]["id"], web[0]["id"]);
    bench.ask("compose_stop", project.args(json!({"services": ["worker"]}))).await.unwrap();
    let ps = bench.ask("compose_ps", project.args(json!({}))).await.unwrap();
    assert_eq!(services(&ps), pairs(&[("web", "running"), ("worker", "exited")]));
    bench.ask("compose_stop", project.args(json!({"remove": true}))).await.unwrap();
    assert_eq!(bench.ask("compose_ps", project.args(json!({}))).await.unwrap(), json!([]));
}

#[tokio::test]
async fn the_configuration_has_no_values_of_variables() {
    let project = Project::new("config");
    let config = bench().ask("compose_config", project.args(json!({}))).await.unwrap();
    assert_eq!(config["services"]["web"]["image"], json!(project.name));
    assert_eq!(config["services"]["web"]["environment"], json!(["KEY", "PORT"]));
    assert!(!config.to_string().contains(SECRET));
}

#[tokio::test]
async fn what_compose_says_comes_with_the_failure() {
    let project = Project::new("fail");
    let bench = bench();
    let error = bench.refused("compose_up", project.args(json!({"services": ["nope"]}))).await;
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.detail.unwrap().contains("nope"));
    std::fs::write(project.folder.path().join("compose.yml"), "services: [").unwrap();
    assert_eq!(bench.refused("compose_config", project.args(json!({}))).await.kind, ErrorKind::Failed);
    std::fs::remove_file(project.folder.path().join("compose.yml")).unwrap();
    assert_eq!(bench.refused("compose_ps", project.args(json!({}))).await.kind, ErrorKind::NotFound);
    let without = Bench::new().refused("compose_ps", project.args(json!({}))).await;
    assert_eq!(without.kind, ErrorKind::Unsupported);
}
