//! The local world with real processes and the real supervisor.

use crate::local_fixture;

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::effect::container::*;
use deployer::effect::exec::ProgramResult;
use deployer::effect::{Applied, ErrorKind};
use deployer::world::engine::Engine;
use local_fixture::{LocalFixture, WEB, get, spec, until};
use serde_json::json;

#[tokio::test]
async fn another_deployer_sees_and_stops_the_same_service() {
    let local = LocalFixture::new();
    local.build("web:v1", WEB).await;
    let made: Container = local
        .ask(RunContainer(spec(json!({
            "name": "web", "image": "web:v1", "ports": ["127.0.0.1:0:5000"], "environment": {"GREETING": "hello"},
            "service": "shop", "role": "live", "labels": {"a": "b"}, "restart": "unless-stopped",
        }))))
        .await
        .unwrap();
    assert_eq!(made.state, ContainerState::Running);
    assert_eq!(made.image, "web:v1");
    assert_eq!(made.ports[0].container_port, 5000);
    assert!(made.environment.contains(&"GREETING".to_owned()));
    for (key, value) in [("deployer.service", "shop"), ("deployer.role", "live"), ("a", "b")] {
        assert_eq!(made.labels[key], value);
    }
    assert_eq!(made.labels["deployer.run"], local.call.run.as_str());
    assert_eq!(until(|| get(made.ports[0].host_port)).await, "hello from v1");

    let other = local.another_run();
    let seen: Option<Container> =
        other.ask(InspectContainer { container: "web".into(), missing_ok: false }).await.unwrap();
    assert_eq!(seen.as_ref(), Some(&made));
    let endpoint = other.world.engine().endpoint(&made, Some(5000)).await.unwrap();
    assert_eq!(endpoint.port(), made.ports[0].host_port);
    assert_eq!(other.world.engine().port_publisher(endpoint.port()).await.unwrap().as_deref(), Some("web"));
    let listed: Vec<Container> =
        other.ask(ListContainers { service: Some("shop".into()), ..ListContainers::default() }).await.unwrap();
    assert_eq!(listed.len(), 1);

    let stopped: Stopped = other.ask(stop("web", 5_000)).await.unwrap();
    assert_eq!(stopped, Stopped { exit_code: Some(143), killed: false });
    let again: Stopped = other.ask(stop("web", 5_000)).await.unwrap();
    assert_eq!(again, Stopped { exit_code: Some(143), killed: false });
    assert_eq!(local.inspect("web").await.state, ContainerState::Exited);
    let listed: Vec<Container> = local.ask(ListContainers::default()).await.unwrap();
    assert!(listed.is_empty());
    let logs: Logs = local.ask(ReadLogs { container: "web".into(), tail: 100 }).await.unwrap();
    assert!(logs.lines.iter().any(|line| line.contains("GET /")), "{logs:?}");

    let started: Container = local.ask(StartContainer { container: "web".into(), stop_first: false }).await.unwrap();
    assert!(started.is_running());
    assert_eq!(until(|| get(started.ports[0].host_port)).await, "hello from v1");
    // A supervisor that has just ended must not block the next one.
    for _ in 0..5 {
        local.ask(stop("web", 5_000)).await.unwrap();
        local.ask(StartContainer { container: "web".into(), stop_first: false }).await.unwrap();
    }
}

fn stop(name: &str, grace_ms: u64) -> StopContainer {
    StopContainer { container: name.into(), grace: DurationText::millis(grace_ms), signal: None, missing_ok: false }
}

fn sh(name: &str, line: &str) -> RunContainer {
    RunContainer(spec(json!({"name": name, "image": "empty", "command": ["/bin/sh", "-c", line]})))
}

#[tokio::test]
async fn a_stubborn_program_and_its_children_are_killed() {
    let local = LocalFixture::with_empty_image().await;
    let line = "trap '' TERM; (trap '' TERM; echo child $$; while :; do sleep 0.1; done) & while :; do sleep 0.1; done";
    local.ask(sh("stubborn", line)).await.unwrap();
    local.wait_for_log("stubborn", "child").await;
    let stopped: Stopped = local.ask(stop("stubborn", 200)).await.unwrap();
    assert_eq!(stopped, Stopped { exit_code: Some(137), killed: true });
    until(|| local.processes().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_killed_child_is_exited_with_its_code() {
    let local = LocalFixture::with_empty_image().await;
    local.ask(sh("victim", "echo last words; exec sleep 600")).await.unwrap();
    local.wait_for_log("victim", "last words").await;
    local_fixture::kill_9(local.child_pid("victim"));
    let ended: Ended =
        local.ask(WaitContainer { container: "victim".into(), timeout: DurationText::secs(10) }).await.unwrap();
    assert_eq!(ended.exit_code, 137);
    let seen = local.inspect("victim").await;
    assert_eq!((seen.state, seen.exit_code), (ContainerState::Exited, Some(137)));
    assert_eq!(local.world.engine().last_log_lines(&"victim".into(), 5).await, ["last words"]);
    local.ask(sh("three", "exit 3")).await.unwrap();
    let ended: Ended =
        local.ask(WaitContainer { container: "three".into(), timeout: DurationText::secs(10) }).await.unwrap();
    assert_eq!(ended.exit_code, 3);
}

#[tokio::test]
async fn a_killed_supervisor_ends_its_program_and_the_container_is_exited() {
    let local = LocalFixture::with_empty_image().await;
    local.ask(sh("web", "sleep 600 & exec sleep 600")).await.unwrap();
    local_fixture::kill_9(local.state("web")["supervisor"]["pid"].as_u64().unwrap());
    let seen = until_async(async || {
        let seen = local.inspect("web").await;
        (seen.state == ContainerState::Exited).then_some(seen)
    })
    .await;
    assert_eq!(seen.exit_code, Some(137));
    let restarted: Container = local.ask(StartContainer { container: "web".into(), stop_first: false }).await.unwrap();
    assert!(restarted.is_running());
    until(|| (local.processes().len() == 2).then_some(())).await;
    local.remove("web").await;
    until(|| local.processes().is_empty().then_some(())).await;
}

async fn until_async<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(found) = attempt().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no value in time");
}

#[tokio::test]
async fn errors_of_taken_ports_name_the_holder() {
    let local = LocalFixture::with_empty_image().await;
    let foreign = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = foreign.local_addr().unwrap().port();
    let run = |name: &str| {
        RunContainer(spec(json!({
            "name": name, "image": "empty", "ports": [format!("{port}:80")], "command": ["sleep", "600"],
        })))
    };
    let error = local.ask(run("web")).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::PortTaken, Applied::No));
    assert_eq!(
        error.message,
        format!("port {port} is taken by another program on this machine, so container `web` cannot start")
    );
    assert!(local.list_all().await.is_empty(), "a failed `docker_run` leaves no container");
    drop(foreign);
    local.ask(run("web")).await.unwrap();
    let error = local.ask(run("green")).await.unwrap_err();
    assert_eq!(error.message, format!("port {port} is taken by container `web`, so container `green` cannot start"));
    local.ask(CreateContainer(run("green").0)).await.unwrap();
    let error = local.ask(StartContainer { container: "green".into(), stop_first: false }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken);
    assert_eq!(local.inspect("green").await.state, ContainerState::Created);
    local.ask(stop("web", 5_000)).await.unwrap();
    local.ask(StartContainer { container: "green".into(), stop_first: false }).await.unwrap();
}

#[tokio::test]
async fn taken_missing_and_changed_names() {
    let local = LocalFixture::with_empty_image().await;
    let web = local.ask(sh("web-blue", "exec sleep 600")).await.unwrap();
    let error = local.ask(sh("web-blue", "exec sleep 600")).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::NameTaken, Applied::No));
    let error = local.ask(stop("web-blu", 100)).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, "container `web-blu` does not exist"));
    assert_eq!(error.hint.unwrap(), "did you mean `web-blue`?");
    let error = local.ask(RunContainer(spec(json!({"name": "x", "image": "emty"})))).await.unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::NotFound, Some("did you mean `empty`?")));
    local.ask(sh("other", "exec sleep 600")).await.unwrap();
    let taken = RenameContainer { container: "other".into(), name: "web-blue".into() };
    assert_eq!(local.ask(taken).await.unwrap_err().kind, ErrorKind::NameTaken);
    let renamed: Container =
        local.ask(RenameContainer { container: web.id.as_str().into(), name: "web".into() }).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.id), ("web", web.id));
    assert!(renamed.state == ContainerState::Running);
    let error = local.ask(sh("a b", "true")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_missing_program_is_an_error_and_leaves_no_container() {
    let local = LocalFixture::with_empty_image().await;
    let request = spec(json!({"name": "web", "image": "empty", "command": ["no-such-program-here"]}));
    let error = local.ask(RunContainer(request.clone())).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::No));
    assert!(error.message.contains("`no-such-program-here`"), "{error}");
    assert!(local.list_all().await.is_empty());
    local.ask(CreateContainer(request)).await.unwrap();
    assert_eq!(
        local.ask(StartContainer { container: "web".into(), stop_first: false }).await.unwrap_err().kind,
        ErrorKind::Failed
    );
    assert_eq!(local.inspect("web").await.state, ContainerState::Created);
    // The supervisor reports a file that the kernel refuses to run.
    let folder = local.folder.path().join("broken");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("run"), "#!/no/such/interpreter\n").unwrap();
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY --chmod=755 run /run\nCMD [\"/run\"]\n").unwrap();
    local.build_folder("broken", &folder).await.unwrap();
    let error = local.ask(RunContainer(spec(json!({"name": "broken", "image": "broken"})))).await.unwrap_err();
    assert!(error.message.starts_with("container `broken` cannot start: "), "{error}");
    assert_eq!(local.list_all().await.len(), 1);
}

#[tokio::test]
async fn restart_policies_apply_until_the_container_is_stopped() {
    let local = LocalFixture::with_empty_image().await;
    let run = |name: &str, restart: &str, line: &str| {
        RunContainer(spec(json!({
            "name": name, "image": "empty", "restart": restart, "command": ["/bin/sh", "-c", line],
        })))
    };
    local.ask(run("always", "always", "echo again; exit 0")).await.unwrap();
    until(|| (local.log("always").matches("again").count() >= 3).then_some(())).await;
    local.ask(stop("always", 1_000)).await.unwrap();
    assert_eq!(local.inspect("always").await.state, ContainerState::Exited);
    let count = local.log("always").matches("again").count();

    local.ask(run("twice", "on-failure:2", "echo try; exit 4")).await.unwrap();
    let seen = until_async(async || {
        let seen = local.inspect("twice").await;
        (seen.state == ContainerState::Exited).then_some(seen)
    })
    .await;
    assert_eq!(seen.exit_code, Some(4));
    assert_eq!(local.log("twice").matches("try").count(), 3);
    assert_eq!(local.log("always").matches("again").count(), count, "no restart after a stop");
}

#[tokio::test]
async fn ports_paths_volumes_and_exec_work_together() {
    let local = LocalFixture::with_empty_image().await;
    let line = "echo first=$PORT eighty=$PORT_80 other=$PORT_81; echo $FILE; cat /shared/note; exec sleep 600";
    local
        .ask(deployer::effect::volume::CreateVolume {
            name: "data".into(),
            labels: [("k".to_owned(), "v".to_owned())].into(),
            service: None,
        })
        .await
        .unwrap();
    fs::write(local.folder.path().join("state/volumes/data/data/note"), "from the volume\n").unwrap();
    let run = |name: &str| {
        RunContainer(spec(json!({
            "name": name, "image": "empty", "ports": ["127.0.0.1:0:80", "127.0.0.1:0:81"], "volumes": ["data:/shared"],
            "environment": {"FILE": "/shared/x.db", "PORT": "1"}, "command": ["/bin/sh", "-c", line],
        })))
    };
    let one = local.ask(run("one")).await.unwrap();
    let two = local.ask(run("two")).await.unwrap();
    local.wait_for_log("one", "from the volume").await;
    let (port, other) = (one.ports[0].host_port, one.ports[1].host_port);
    assert!(local.log("one").contains(&format!("first={port} eighty={port} other={other}\n")));
    assert_ne!(port, two.ports[0].host_port);
    let path = local.log("one").lines().nth(1).unwrap().to_owned();
    assert!(path.ends_with("/root/shared/x.db"), "{path}");

    let exec = |container: &str, line: &str| {
        let request = json!({"container": container, "command": ["/bin/sh", "-c", line], "timeout": "10s"});
        serde_json::from_value::<ExecInContainer>(request).unwrap()
    };
    let _: ProgramResult = local.ask(exec("one", "echo $FILE > /shared/written; echo $PORT")).await.unwrap();
    let read: ProgramResult = local.ask(exec("two", "cat /shared/written; echo $PORT; pwd >&2")).await.unwrap();
    assert!(read.stdout.contains("x.db") && read.stdout.contains(&two.ports[0].host_port.to_string()), "{read:?}");
    assert!(read.stderr.trim_end().ends_with("/root"), "{read:?}");
    let file = local.world.engine().volume_file("data", "written").await.unwrap();
    assert!(file.path().exists() && !file.is_copy());
    let error = local.ask(exec("one", "echo why >&2; exit 7")).await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_deref()), (ErrorKind::Failed, Some("why\n")));
    let slow = ExecInContainer { timeout: DurationText::millis(100), ..exec("one", "sleep 600") };
    assert_eq!(local.ask(slow).await.unwrap_err().kind, ErrorKind::Timeout);
    let mut long = exec("one", "seq 1 10000");
    long.output_limit = deployer::base::byte_size::ByteSize(10);
    let long: ProgramResult = local.ask(long).await.unwrap();
    assert_eq!((long.stdout.as_str(), long.truncated), ("999\n10000\n", true));

    let remove = deployer::effect::volume::RemoveVolume {
        name: "data".into(),
        missing_ok: false,
        disposable: false,
        only_own: false,
    };
    assert_eq!(local.ask(remove.clone()).await.unwrap_err().kind, ErrorKind::Conflict);
    local.ask(stop("one", 2_000)).await.unwrap();
    assert_eq!(local.ask(exec("one", "true")).await.unwrap_err().kind, ErrorKind::Conflict);
    local.remove("one").await;
    local.remove("two").await;
    assert!(local.ask(remove).await.unwrap().removed);
}

#[tokio::test]
async fn a_health_check_turns_healthy_and_unhealthy() {
    let local = LocalFixture::with_empty_image().await;
    let run = RunContainer(spec(json!({
        "name": "web", "image": "empty", "command": ["sleep", "600"], "working_dir": "/app",
        "healthcheck": {"test": ["CMD-SHELL", "test -e /app/well"], "interval": "20ms", "retries": 2, "timeout": "5s"},
    })));
    let made = local.ask(run).await.unwrap();
    assert_eq!(made.health.as_deref(), Some("starting"));
    let health = async |wanted: &str| {
        until_async(async || (local.inspect("web").await.health.as_deref() == Some(wanted)).then_some(())).await;
    };
    health("unhealthy").await;
    fs::write(local.container_folder("web").join("root/app/well"), "").unwrap();
    health("healthy").await;
    local.ask(stop("web", 2_000)).await.unwrap();
    assert_eq!(local.inspect("web").await.health, None);
}
