//! Containers: run, create, start, inspect, list, rename, remove, logs, exec.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{
    ContainerState, CreateContainer, ExecInContainer, InspectContainer, ListContainers, ReadLogs, RemoveContainer,
    RenameContainer, RunContainer, StartContainer, StopContainer, WaitContainer,
};
use deployer::effect::health::WaitHealthy;
use serde_json::json;

use crate::host::{APP_PORT, App};
use crate::stage::Stage;

pub async fn run_shows_everything(stage: &Stage<'_>) {
    let (name, port) = (stage.name("web"), stage.port());
    let made = stage
        .must::<RunContainer>(json!({
            "name": name, "image": stage.image(App::Web), "ports": [format!("127.0.0.1:{port}:{APP_PORT}")],
            "environment": { "COLOUR": "blue" }, "labels": { "mine": "yes" }, "service": "shop", "role": "live",
        }))
        .await;
    assert_eq!((made.name.as_str(), made.image), (name.as_str(), stage.image(App::Web)));
    assert_eq!(made.state, ContainerState::Running);
    let found = stage.must::<InspectContainer>(json!({ "container": name })).await.unwrap();
    assert_eq!(found.id, made.id);
    let published = found.ports.iter().find(|published| published.host_port == port).expect("the published port");
    assert_eq!((published.address.as_str(), published.container_port), ("127.0.0.1", APP_PORT));
    assert!(found.environment.iter().any(|variable| variable == "COLOUR"), "{:?}", found.environment);
    for (key, value) in
        [("mine", "yes"), (labels::SERVICE, "shop"), (labels::ROLE, "live"), (labels::RUN, stage.run().as_str())]
    {
        assert_eq!(found.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(found.labels[labels::EFFECT].starts_with(stage.run().as_str()));
    assert!(found.exit_code.is_none_or(|code| code == 0), "{:?}", found.exit_code);
    assert!(found.created_at.is_some() && found.started_at.is_some());
    let by_id = stage.must::<InspectContainer>(json!({ "container": { "id": made.id } })).await.unwrap();
    assert_eq!(by_id.name, name);
}

pub async fn list_selects(stage: &Stage<'_>) {
    let label = stage.name("label");
    for (word, role) in [("a", "live"), ("b", "candidate")] {
        let spec = json!({
            "name": stage.name(word), "image": stage.image(App::Web), "labels": { "group": label },
            "service": label, "role": role,
        });
        stage.must::<CreateContainer>(spec).await;
    }
    stage.must::<StartContainer>(json!({ "container": stage.name("b") })).await;
    let names = async |selection| -> Vec<String> {
        stage.must::<ListContainers>(selection).await.into_iter().map(|container| container.name).collect()
    };
    let both = vec![stage.name("b"), stage.name("a")];
    let (a, b) = (vec![stage.name("a")], vec![stage.name("b")]);
    assert_eq!(names(json!({ "all": true, "labels": { "group": label } })).await, both, "newest first");
    assert_eq!(names(json!({ "labels": { "group": label } })).await, b, "running ones");
    assert_eq!(names(json!({ "all": true, "service": label, "role": "live" })).await, a);
    assert_eq!(names(json!({ "all": true, "name": stage.name("a") })).await, a, "exactly this name");
    assert!(names(json!({ "all": true, "name": stage.name("") })).await.is_empty(), "no part of a name");
    let by_key = names(json!({ "all": true, "labels": { "group": "" } })).await;
    assert!(both.iter().all(|name| by_key.contains(name)), "by the key alone: {by_key:?}");
    let by_image = names(json!({ "all": true, "image": stage.image(App::Web), "service": label })).await;
    assert_eq!(by_image, both);
    assert!(names(json!({ "all": true, "image": stage.image(App::Dies), "service": label })).await.is_empty());
}

pub async fn missing_container(stage: &Stage<'_>) {
    let nobody = json!({ "container": stage.name("nobody") });
    let not_found = ErrorKind::NotFound;
    stage.refused::<InspectContainer>(nobody.clone(), not_found).await;
    stage.refused::<StartContainer>(nobody.clone(), not_found).await;
    stage.refused::<StopContainer>(nobody.clone(), not_found).await;
    stage.refused::<RemoveContainer>(nobody.clone(), not_found).await;
    stage.refused::<ReadLogs>(nobody.clone(), not_found).await;
    stage.refused::<WaitContainer>(nobody.clone(), not_found).await;
    stage.refused::<deployer::effect::container::KillContainer>(nobody.clone(), not_found).await;
    stage
        .refused::<RenameContainer>(json!({ "container": stage.name("nobody"), "name": stage.name("x") }), not_found)
        .await;
    stage.refused::<ExecInContainer>(json!({ "container": stage.name("nobody"), "command": ["sh"] }), not_found).await;
    stage.refused::<WaitHealthy>(json!({ "container": stage.name("nobody"), "timeout": "2s" }), not_found).await;
    let allowed = json!({ "container": stage.name("nobody"), "missing_ok": true });
    assert_eq!(stage.must::<InspectContainer>(allowed.clone()).await, None);
    assert_eq!(stage.must::<StopContainer>(allowed.clone()).await.exit_code, None);
    assert!(!stage.must::<RemoveContainer>(allowed).await.removed);
}

pub async fn taken_name(stage: &Stage<'_>) {
    let first = stage.start("web", App::Web).await;
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web) });
    stage.refused::<RunContainer>(spec.clone(), ErrorKind::NameTaken).await;
    stage.refused::<CreateContainer>(spec, ErrorKind::NameTaken).await;
    let after = stage.must::<InspectContainer>(json!({ "container": stage.name("web") })).await.unwrap();
    assert_eq!((after.id, after.state), (first.id, ContainerState::Running), "the first one is untouched");
}

pub async fn taken_port(stage: &Stage<'_>) {
    let ports = [format!("127.0.0.1:{}:{APP_PORT}", stage.port())];
    let spec = |word| json!({ "name": stage.name(word), "image": stage.image(App::Web), "ports": ports });
    stage.must::<RunContainer>(spec("first")).await;
    stage.must::<WaitHealthy>(json!({ "container": stage.name("first"), "path": "/", "timeout": "10s" })).await;
    stage.refused::<RunContainer>(spec("second"), ErrorKind::PortTaken).await;
    let second = json!({ "container": stage.name("second"), "missing_ok": true });
    assert_eq!(stage.must::<InspectContainer>(second).await, None, "a failed run leaves nothing behind");
    stage.must::<CreateContainer>(spec("third")).await;
    stage.refused::<StartContainer>(json!({ "container": stage.name("third") }), ErrorKind::PortTaken).await;
    let third = stage.must::<InspectContainer>(json!({ "container": stage.name("third") })).await.unwrap();
    assert!(!third.is_running());
    stage.must::<RemoveContainer>(json!({ "container": stage.name("first"), "force": true })).await;
    let third = stage.must::<StartContainer>(json!({ "container": stage.name("third") })).await;
    assert_eq!(third.state, ContainerState::Running, "the port is free again");
}

pub async fn missing_image(stage: &Stage<'_>) {
    let spec = json!({ "name": stage.name("web"), "image": stage.name("nothing") });
    let error = stage.refused::<RunContainer>(spec.clone(), ErrorKind::NotFound).await;
    assert!(error.hint.is_some());
    stage.refused::<CreateContainer>(spec, ErrorKind::NotFound).await;
    let web = json!({ "container": stage.name("web"), "missing_ok": true });
    assert_eq!(stage.must::<InspectContainer>(web).await, None);
}

pub async fn create_then_start(stage: &Stage<'_>) {
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web) });
    let made = stage.must::<CreateContainer>(spec).await;
    assert_eq!(made.state, ContainerState::Created);
    let started = stage.must::<StartContainer>(json!({ "container": made.id })).await;
    assert_eq!((started.id.as_str(), started.state), (made.id.as_str(), ContainerState::Running));
    let again = stage.must::<StartContainer>(json!({ "container": made.id })).await;
    assert_eq!(again.started_at, started.started_at, "a running one is left as it is");
}

pub async fn rename(stage: &Stage<'_>) {
    let web = stage.start("web", App::Web).await;
    stage.start("other", App::Web).await;
    let renamed =
        stage.must::<RenameContainer>(json!({ "container": stage.name("web"), "name": stage.name("new") })).await;
    assert_eq!((renamed.id.as_str(), renamed.name), (web.id.as_str(), stage.name("new")));
    let old = json!({ "container": stage.name("web"), "missing_ok": true });
    assert_eq!(stage.must::<InspectContainer>(old).await, None);
    let onto = json!({ "container": stage.name("new"), "name": stage.name("other") });
    stage.refused::<RenameContainer>(onto, ErrorKind::NameTaken).await;
    let itself = json!({ "container": web.id, "name": stage.name("new") });
    assert_eq!(stage.must::<RenameContainer>(itself).await.name, stage.name("new"), "to its own name");
}

pub async fn remove(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    let web = json!({ "container": stage.name("web") });
    stage.refused::<RemoveContainer>(web.clone(), ErrorKind::Conflict).await;
    assert!(stage.must::<InspectContainer>(web.clone()).await.unwrap().is_running(), "still there");
    let others = json!({ "container": stage.name("web"), "force": true, "missing_ok": true, "only_own": true });
    let left = stage.ask_as::<RemoveContainer>(&stage.other_run(), others.clone()).await.unwrap();
    assert!(!left.removed, "another run's container is left alone");
    assert!(stage.must::<RemoveContainer>(others).await.removed, "its own is removed");
    assert!(
        !stage.must::<RemoveContainer>(json!({ "container": stage.name("web"), "missing_ok": true })).await.removed
    );
    stage.start("web", App::Web).await;
    stage.must::<StopContainer>(web.clone()).await;
    assert!(stage.must::<RemoveContainer>(web).await.removed, "a stopped one needs no force");
}

pub async fn logs_tell_the_last_lines(stage: &Stage<'_>) {
    stage.start("dies", App::Dies).await;
    stage.must::<WaitContainer>(json!({ "container": stage.name("dies"), "timeout": "20s" })).await;
    let lines = stage.must::<ReadLogs>(json!({ "container": stage.name("dies") })).await.lines;
    assert_eq!(lines, ["no configuration"]);
    let none = stage.must::<ReadLogs>(json!({ "container": stage.name("dies"), "tail": 0 })).await.lines;
    assert!(none.is_empty());
}

pub async fn exec(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    let run = |line: &str, check: bool| json!({ "container": stage.name("web"), "command": ["sh", "-c", line], "check": check });
    let hello = stage.must::<ExecInContainer>(run("echo hello", true)).await;
    assert_eq!((hello.exit_code, hello.stdout.as_str(), hello.truncated), (0, "hello\n", false));
    stage.refused::<ExecInContainer>(run("exit 3", true), ErrorKind::Failed).await;
    assert_eq!(stage.must::<ExecInContainer>(run("exit 3", false)).await.exit_code, 3);
    stage.must::<StopContainer>(json!({ "container": stage.name("web") })).await;
    stage.refused::<ExecInContainer>(run("echo hello", true), ErrorKind::Conflict).await;
}
