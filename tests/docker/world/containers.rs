//! Containers from creation to removal.

use std::collections::BTreeMap;

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{
    ContainerState, CreateContainer, KillContainer, ListContainers, ReadLogs, RemoveContainer, RenameContainer,
    RunContainer, StartContainer, StopContainer, WaitContainer,
};
use deployer::world::World;
use deployer::world::engine::Engine;
use serde_json::json;

use super::bench::{Bench, IMAGE, SECRET, answers, call_of, eventually, perform, random_run, refused};

#[tokio::test]
async fn runs_stops_starts_renames_and_removes() {
    let bench = Bench::new().await;
    let container = bench
        .json::<RunContainer>(json!({
            "name": bench.name("web"), "image": IMAGE, "command": ["httpd", "-f", "-p", "5000", "-h", "/bin"],
            "environment": {"PLAIN": "1", "TOKEN": {"secret_text": [{"secret": "TOKEN"}]}},
            "ports": ["127.0.0.1:0:5000"], "volumes": [format!("{}:/data", bench.name("data"))],
            "mem_limit": "64m", "labels": {"mine": "yes"}, "service": "shop", "role": "live",
        }))
        .await
        .unwrap();
    assert_eq!(container.name, bench.name("web"));
    assert_eq!(container.image, IMAGE);
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!(container.exit_code, None);
    assert!(container.environment.contains(&"TOKEN".to_owned()));
    assert!(!format!("{container:?}").contains(SECRET));
    for (key, value) in [
        ("mine", "yes"),
        (labels::SERVICE, "shop"),
        (labels::ROLE, "live"),
        (labels::RUN, bench.call.run.as_str()),
        (labels::EFFECT, &bench.call.effect_id()),
    ] {
        assert_eq!(container.labels[key], value);
    }
    assert_eq!(container.mounts, [format!("{}:/data", bench.name("data"))]);
    let engine = bench.world.engine();
    let address = engine.endpoint(&container, None).await.unwrap();
    assert_eq!((address.port(), address.ip().to_string()), (container.ports[0].host_port, "127.0.0.1".into()));
    answers(address).await;
    assert_eq!(engine.port_publisher(address.port()).await.unwrap(), Some(bench.name("web")));

    // Process 1 ignores SIGTERM unless it has a handler.
    let stopped = bench.json::<StopContainer>(json!({"container": bench.name("web"), "grace": "300ms"})).await.unwrap();
    assert_eq!((stopped.exit_code, stopped.killed), (Some(137), true));
    let after = bench.look("web").await.unwrap();
    assert_eq!((after.state, after.exit_code), (ContainerState::Exited, Some(137)));
    let again = bench.json::<StopContainer>(json!({"container": bench.name("web")})).await.unwrap();
    assert!(!again.killed, "the container had already exited");

    let started = bench.json::<StartContainer>(json!({"container": bench.name("web")})).await.unwrap();
    assert!(started.is_running());
    let renamed = bench
        .json::<RenameContainer>(json!({"container": {"id": container.id}, "name": bench.name("blue")}))
        .await
        .unwrap();
    assert_eq!((renamed.id, renamed.name), (container.id, bench.name("blue")));

    let error =
        refused(bench.json::<RemoveContainer>(json!({"container": bench.name("blue")})).await, ErrorKind::Conflict);
    assert!(error.hint.unwrap().contains("docker_stop"));
    assert!(
        bench.json::<RemoveContainer>(json!({"container": bench.name("blue"), "force": true})).await.unwrap().removed
    );
    assert!(bench.look("blue").await.is_none());
    let gone = json!({"container": bench.name("blue"), "missing_ok": true});
    assert!(!bench.json::<RemoveContainer>(gone.clone()).await.unwrap().removed);
    assert_eq!(bench.json::<StopContainer>(gone).await.unwrap().exit_code, None);
}

#[tokio::test]
async fn reports_how_a_container_ended() {
    let bench = Bench::new().await;
    let trap =
        |signal: &str, code: u8| format!("trap 'exit {code}' {signal}; echo ready; while :; do sleep 0.05; done");
    for (name, line, options) in
        [("term", trap("TERM", 7), json!({})), ("int", trap("INT", 7), json!({"signal": "SIGINT", "grace": "10s"}))]
    {
        bench.shell(name, &line).await;
        ready(&bench, name).await;
        let mut request = json!({"container": bench.name(name)});
        request.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let stopped = bench.json::<StopContainer>(request).await.unwrap();
        assert_eq!((stopped.exit_code, stopped.killed), (Some(7), false), "{name}");
    }
    bench.shell("stubborn", "trap '' INT; echo ready; while :; do sleep 0.05; done").await;
    ready(&bench, "stubborn").await;
    let request = json!({"container": bench.name("stubborn"), "signal": "SIGINT", "grace": "200ms"});
    let stopped = bench.json::<StopContainer>(request).await.unwrap();
    assert_eq!((stopped.exit_code, stopped.killed), (Some(137), true));
}

async fn ready(bench: &Bench, name: &str) {
    eventually("the shell is ready", || async {
        let logs = bench.json::<ReadLogs>(json!({"container": bench.name(name)})).await.unwrap();
        logs.lines.contains(&"ready".to_owned()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wait_can_be_cancelled() {
    let bench = Bench::new().await;
    for code in [0, 3] {
        let name = format!("exit{code}");
        bench.shell(&name, &format!("exit {code}")).await;
        let ended = bench.json::<WaitContainer>(json!({"container": bench.name(&name)})).await.unwrap();
        assert_eq!(ended.exit_code, code);
    }
    bench.shell("long", "sleep 1000").await;
    let request = json!({"container": bench.name("long"), "timeout": "100ms"});
    refused(bench.json::<WaitContainer>(request).await, ErrorKind::Timeout);
    let call = call_of(&bench.call.run);
    call.cancel.cancel();
    let request: WaitContainer = serde_json::from_value(json!({"container": bench.name("long")})).unwrap();
    refused(perform(&bench.world, &call, request).await, ErrorKind::Cancelled);
    bench.json::<KillContainer>(json!({"container": bench.name("long")})).await.unwrap();
    let ended = bench.json::<WaitContainer>(json!({"container": bench.name("long")})).await.unwrap();
    assert_eq!(ended.exit_code, 137);
    refused(bench.json::<KillContainer>(json!({"container": bench.name("long")})).await, ErrorKind::Conflict);
}

#[tokio::test]
async fn reads_the_end_of_both_streams() {
    let bench = Bench::new().await;
    bench.shell("talk", "for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; printf unfinished").await;
    bench.json::<WaitContainer>(json!({"container": bench.name("talk")})).await.unwrap();
    let all = bench.json::<ReadLogs>(json!({"container": bench.name("talk")})).await.unwrap().lines;
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(all.contains(&"err".to_owned()) && all.contains(&"unfinished".to_owned()));
    let end = bench.json::<ReadLogs>(json!({"container": bench.name("talk"), "tail": 2})).await.unwrap().lines;
    assert_eq!(end.len(), 2);
    let engine = bench.world.engine();
    assert_eq!(engine.last_log_lines(&bench.name("talk").as_str().into(), 1).await.len(), 1);
    assert!(engine.last_log_lines(&bench.name("missing").as_str().into(), 1).await.is_empty());
}

#[tokio::test]
async fn a_list_has_exactly_the_matching_containers() {
    let bench = Bench::new().await;
    for name in ["web", "web-2"] {
        bench
            .json::<CreateContainer>(json!({"name": bench.name(name), "image": IMAGE, "service": bench.name("svc")}))
            .await
            .unwrap();
    }
    let names = async |request: serde_json::Value| -> Vec<String> {
        bench.json::<ListContainers>(request).await.unwrap().into_iter().map(|container| container.name).collect()
    };
    assert_eq!(names(json!({"name": bench.name("web"), "all": true})).await, [bench.name("web")]);
    let newest_first = [bench.name("web-2"), bench.name("web")];
    assert_eq!(names(json!({"service": bench.name("svc"), "all": true})).await, newest_first);
    assert!(names(json!({"service": bench.name("svc")})).await.is_empty(), "none of them runs");
    let run = BTreeMap::from([(labels::RUN, bench.call.run.to_string()), (labels::EFFECT, String::new())]);
    assert_eq!(names(json!({"labels": run, "all": true, "image": IMAGE})).await, newest_first);
    assert!(names(json!({"labels": run, "all": true, "image": "busybox:none"})).await.is_empty());
}

#[tokio::test]
async fn an_undo_removes_only_containers_of_its_run() {
    let bench = Bench::new().await;
    bench.shell("mine", "sleep 1000").await;
    let request = json!({"container": bench.name("mine"), "force": true, "missing_ok": true, "only_own": true});
    let foreign: RemoveContainer = serde_json::from_value(request.clone()).unwrap();
    assert!(!perform(&bench.world, &call_of(&random_run()), foreign).await.unwrap().removed);
    assert!(bench.look("mine").await.is_some());
    assert!(bench.json::<RemoveContainer>(request).await.unwrap().removed);
}

#[tokio::test]
async fn properties_and_endpoints_of_the_engine() {
    let bench = Bench::new().await;
    assert_eq!(bench.world.name(), "docker");
    let engine = bench.world.engine();
    assert!(engine.is_on_this_host());
    assert!(engine.memory().await.unwrap().available_mb.is_some());
    assert_eq!(engine.compose_environment().unwrap()[0].0, "DOCKER_HOST");
    let inner = bench.json::<RunContainer>(json!({
        "name": bench.name("inner"), "image": IMAGE, "command": ["httpd", "-f", "-p", "5000"],
    }));
    let inner = inner.await.unwrap();
    let address = engine.endpoint(&inner, Some(5000)).await.unwrap();
    assert_eq!(address.ip().to_string(), inner.networks["bridge"]);
    answers(address).await;
    refused(engine.endpoint(&inner, None).await, ErrorKind::Invalid);
    assert!(engine.find_container(&"deployer-missing".into()).await.unwrap().is_none());
}
