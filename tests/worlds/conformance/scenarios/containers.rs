//! Containers: run, create, start, inspect, list, rename, remove, logs, exec.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{
    ContainerState, CreateContainer, ExecInContainer, InspectContainer, ListContainers, ReadLogs, RemoveContainer,
    RenameContainer, RestartPolicy, RunContainer, StartContainer, StopContainer, WaitContainer,
};
use deployer::effect::health::WaitHealthy;
use serde_json::json;

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::{APP_PORT, App};

pub async fn run_shows_everything(context: &ScenarioContext<'_>) {
    let (name, port) = (context.name("web"), context.port());
    let made = context
        .must::<RunContainer>(json!({
            "name": name, "image": context.image(App::Web), "ports": [format!("127.0.0.1:{port}:{APP_PORT}")],
            "environment": { "COLOUR": "blue" }, "labels": { "mine": "yes" }, "service": "shop", "role": "live", "restart": "on-failure:3",
        }))
        .await;
    assert_eq!((made.name.as_str(), made.image), (name.as_str(), context.image(App::Web)));
    assert_eq!(made.state, ContainerState::Running);
    let found = context.must::<InspectContainer>(json!({ "container": name })).await.unwrap();
    assert_eq!(found.id, made.id);
    let published = found.ports.iter().find(|published| published.host_port == port).expect("the published port");
    assert_eq!((published.address.as_str(), published.container_port), ("127.0.0.1", APP_PORT));
    assert!(found.environment.iter().any(|variable| variable == "COLOUR"), "{:?}", found.environment);
    for (key, value) in
        [("mine", "yes"), (labels::SERVICE, "shop"), (labels::ROLE, "live"), (labels::RUN, context.run().as_str())]
    {
        assert_eq!(found.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(found.labels[labels::EFFECT].starts_with(context.run().as_str()));
    assert!(found.exit_code.is_none_or(|code| code == 0), "{:?}", found.exit_code);
    assert_eq!(found.restart, RestartPolicy::OnFailure { attempts: 3 });
    assert!(found.created_at.is_some() && found.started_at.is_some());
    let by_id = context.must::<InspectContainer>(json!({ "container": { "id": made.id } })).await.unwrap();
    assert_eq!(by_id.name, name);
    context.must::<StopContainer>(json!({ "container": name, "grace": "5s" })).await;
    let stopped = context.must::<InspectContainer>(json!({ "container": name })).await.unwrap();
    assert_eq!(stopped.ports, found.ports, "a stopped container shows what it will publish");
}

pub async fn list_selects(context: &ScenarioContext<'_>) {
    let label = context.name("label");
    for (word, role) in [("a", "live"), ("b", "candidate")] {
        let spec = json!({
            "name": context.name(word), "image": context.image(App::Web), "labels": { "group": label },
            "service": label, "role": role,
        });
        context.must::<CreateContainer>(spec).await;
    }
    context.must::<StartContainer>(json!({ "container": context.name("b") })).await;
    let names = async |selection| -> Vec<String> {
        context.must::<ListContainers>(selection).await.into_iter().map(|container| container.name).collect()
    };
    let both = vec![context.name("b"), context.name("a")];
    let (a, b) = (vec![context.name("a")], vec![context.name("b")]);
    assert_eq!(names(json!({ "all": true, "labels": { "group": label } })).await, both, "newest first");
    assert_eq!(names(json!({ "labels": { "group": label } })).await, b, "only running containers");
    assert_eq!(names(json!({ "all": true, "service": label, "role": "live" })).await, a);
    assert_eq!(names(json!({ "all": true, "name": context.name("a") })).await, a, "only the exact name");
    assert!(
        names(json!({ "all": true, "name": context.name("") })).await.is_empty(),
        "a part of a name does not match"
    );
    let by_key = names(json!({ "all": true, "labels": { "group": "" } })).await;
    assert!(both.iter().all(|name| by_key.contains(name)), "by key only: {by_key:?}");
    let by_image = names(json!({ "all": true, "image": context.image(App::Web), "service": label })).await;
    assert_eq!(by_image, both);
    assert!(names(json!({ "all": true, "image": context.image(App::Dies), "service": label })).await.is_empty());
}

pub async fn missing_container(context: &ScenarioContext<'_>) {
    let missing = json!({ "container": context.name("missing") });
    let not_found = ErrorKind::NotFound;
    context.refused::<InspectContainer>(missing.clone(), not_found).await;
    context.refused::<StartContainer>(missing.clone(), not_found).await;
    context.refused::<StopContainer>(missing.clone(), not_found).await;
    context.refused::<RemoveContainer>(missing.clone(), not_found).await;
    context.refused::<ReadLogs>(missing.clone(), not_found).await;
    context.refused::<WaitContainer>(missing.clone(), not_found).await;
    context.refused::<deployer::effect::container::KillContainer>(missing.clone(), not_found).await;
    context
        .refused::<RenameContainer>(
            json!({ "container": context.name("missing"), "name": context.name("x") }),
            not_found,
        )
        .await;
    context
        .refused::<ExecInContainer>(json!({ "container": context.name("missing"), "command": ["sh"] }), not_found)
        .await;
    context.refused::<WaitHealthy>(json!({ "container": context.name("missing"), "timeout": "2s" }), not_found).await;
    let allowed = json!({ "container": context.name("missing"), "missing_ok": true });
    assert_eq!(context.must::<InspectContainer>(allowed.clone()).await, None);
    assert_eq!(context.must::<StopContainer>(allowed.clone()).await.exit_code, None);
    assert!(!context.must::<RemoveContainer>(allowed).await.removed);
}

pub async fn taken_name(context: &ScenarioContext<'_>) {
    let first = context.start("web", App::Web).await;
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web) });
    context.refused::<RunContainer>(spec.clone(), ErrorKind::NameTaken).await;
    context.refused::<CreateContainer>(spec, ErrorKind::NameTaken).await;
    let after = context.must::<InspectContainer>(json!({ "container": context.name("web") })).await.unwrap();
    assert_eq!((after.id, after.state), (first.id, ContainerState::Running), "the first container is unchanged");
}

pub async fn taken_port(context: &ScenarioContext<'_>) {
    let ports = [format!("127.0.0.1:{}:{APP_PORT}", context.port())];
    let spec = |word| json!({ "name": context.name(word), "image": context.image(App::Web), "ports": ports });
    context.must::<RunContainer>(spec("first")).await;
    context.must::<WaitHealthy>(json!({ "container": context.name("first"), "path": "/", "timeout": "10s" })).await;
    context.refused::<RunContainer>(spec("second"), ErrorKind::PortTaken).await;
    let second = json!({ "container": context.name("second"), "missing_ok": true });
    assert_eq!(context.must::<InspectContainer>(second).await, None, "a failed run leaves nothing behind");
    context.must::<CreateContainer>(spec("third")).await;
    context.refused::<StartContainer>(json!({ "container": context.name("third") }), ErrorKind::PortTaken).await;
    let third = context.must::<InspectContainer>(json!({ "container": context.name("third") })).await.unwrap();
    assert!(!third.is_running());
    context.must::<RemoveContainer>(json!({ "container": context.name("first"), "force": true })).await;
    let third = context.must::<StartContainer>(json!({ "container": context.name("third") })).await;
    assert_eq!(third.state, ContainerState::Running, "the port is free again");
}

pub async fn missing_image(context: &ScenarioContext<'_>) {
    let spec = json!({ "name": context.name("web"), "image": context.name("nothing") });
    let error = context.refused::<RunContainer>(spec.clone(), ErrorKind::NotFound).await;
    assert!(error.hint.is_some());
    context.refused::<CreateContainer>(spec, ErrorKind::NotFound).await;
    let web = json!({ "container": context.name("web"), "missing_ok": true });
    assert_eq!(context.must::<InspectContainer>(web).await, None);
}

pub async fn create_then_start(context: &ScenarioContext<'_>) {
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web) });
    let made = context.must::<CreateContainer>(spec).await;
    assert_eq!(made.state, ContainerState::Created);
    let started = context.must::<StartContainer>(json!({ "container": made.id })).await;
    assert_eq!((started.id.as_str(), started.state), (made.id.as_str(), ContainerState::Running));
    let again = context.must::<StartContainer>(json!({ "container": made.id })).await;
    assert_eq!(again.started_at, started.started_at, "a running container is not changed");
}

pub async fn rename(context: &ScenarioContext<'_>) {
    let web = context.start("web", App::Web).await;
    context.start("other", App::Web).await;
    let renamed =
        context.must::<RenameContainer>(json!({ "container": context.name("web"), "name": context.name("new") })).await;
    assert_eq!((renamed.id.as_str(), renamed.name), (web.id.as_str(), context.name("new")));
    let old = json!({ "container": context.name("web"), "missing_ok": true });
    assert_eq!(context.must::<InspectContainer>(old).await, None);
    let onto = json!({ "container": context.name("new"), "name": context.name("other") });
    context.refused::<RenameContainer>(onto, ErrorKind::NameTaken).await;
    let itself = json!({ "container": web.id, "name": context.name("new") });
    assert_eq!(
        context.must::<RenameContainer>(itself).await.name,
        context.name("new"),
        "renaming to the current name succeeds"
    );
}

pub async fn remove(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    let web = json!({ "container": context.name("web") });
    context.refused::<RemoveContainer>(web.clone(), ErrorKind::Conflict).await;
    assert!(context.must::<InspectContainer>(web.clone()).await.unwrap().is_running(), "the container still runs");
    let only_own = json!({ "container": context.name("web"), "force": true, "missing_ok": true, "only_own": true });
    let left = context.ask_as::<RemoveContainer>(&context.other_run(), only_own.clone()).await.unwrap();
    assert!(!left.removed, "a container of another run is not removed");
    assert!(context.must::<RemoveContainer>(only_own).await.removed, "a container of the same run is removed");
    assert!(
        !context.must::<RemoveContainer>(json!({ "container": context.name("web"), "missing_ok": true })).await.removed
    );
    context.start("web", App::Web).await;
    context.must::<StopContainer>(web.clone()).await;
    assert!(context.must::<RemoveContainer>(web).await.removed, "a stopped container needs no `force`");
}

pub async fn logs_return_the_last_lines(context: &ScenarioContext<'_>) {
    context.start("dies", App::Dies).await;
    context.must::<WaitContainer>(json!({ "container": context.name("dies"), "timeout": "20s" })).await;
    let lines = context.must::<ReadLogs>(json!({ "container": context.name("dies") })).await.lines;
    assert_eq!(lines, ["no configuration"]);
    let none = context.must::<ReadLogs>(json!({ "container": context.name("dies"), "tail": 0 })).await.lines;
    assert!(none.is_empty());
}

pub async fn exec(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    let run = |line: &str, check: bool| json!({ "container": context.name("web"), "command": ["sh", "-c", line], "check": check });
    let hello = context.must::<ExecInContainer>(run("echo hello", true)).await;
    assert_eq!((hello.exit_code, hello.stdout.as_str(), hello.truncated), (0, "hello\n", false));
    context.refused::<ExecInContainer>(run("exit 3", true), ErrorKind::Failed).await;
    assert_eq!(context.must::<ExecInContainer>(run("exit 3", false)).await.exit_code, 3);
    context.must::<StopContainer>(json!({ "container": context.name("web") })).await;
    context.refused::<ExecInContainer>(run("echo hello", true), ErrorKind::Conflict).await;
}
