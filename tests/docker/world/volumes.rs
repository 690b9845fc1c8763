//! Volumes, and files in them.

use std::collections::BTreeMap;

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{RunContainer, WaitContainer};
use deployer::effect::volume::{CreateVolume, ListVolumes, RemoveVolume};
use deployer::world::docker::{ConnectSpec, DockerWorld};
use deployer::world::engine::Engine;
use serde_json::json;

use super::bench::{Bench, CONNECT, IMAGE, call_of, docker, holder, perform, random_run, refused, unchanged};

#[tokio::test]
async fn volumes_are_created_listed_and_removed() {
    let bench = Bench::new().await;
    let data = bench.name("data");
    let made =
        bench.json::<CreateVolume>(json!({"name": data, "labels": {"mine": "yes"}, "service": "shop"})).await.unwrap();
    assert_eq!(made.labels["mine"], "yes");
    assert_eq!(made.labels[labels::SERVICE], "shop");
    let again: CreateVolume = serde_json::from_value(json!({"name": data})).unwrap();
    let again = perform(&bench.world, &call_of(&random_run()), again).await.unwrap();
    assert_eq!(again.labels, made.labels, "the existing volume is unchanged");
    bench.json::<CreateVolume>(json!({"name": bench.name("data-2")})).await.unwrap();
    let names = async |request: serde_json::Value| -> Vec<String> {
        bench.json::<ListVolumes>(request).await.unwrap().into_iter().map(|volume| volume.name).collect()
    };
    assert_eq!(names(json!({"name": data})).await, std::slice::from_ref(&data));
    let run = BTreeMap::from([(labels::RUN, bench.call.run.as_str())]);
    assert_eq!(names(json!({"labels": run})).await, [data.clone(), bench.name("data-2")]);

    let user =
        json!({"name": bench.name("user"), "image": IMAGE, "command": ["true"], "volumes": [format!("{data}:/data")]});
    bench.json::<RunContainer>(user).await.unwrap();
    let error = refused(bench.json::<RemoveVolume>(json!({"name": data})).await, ErrorKind::Conflict);
    unchanged(&error);
    assert!(error.message.contains(&format!("`{}`", bench.name("user"))), "{error}");

    let undo = json!({"name": bench.name("data-2"), "only_own": true, "missing_ok": true});
    let foreign: RemoveVolume = serde_json::from_value(undo.clone()).unwrap();
    assert!(!perform(&bench.world, &call_of(&random_run()), foreign).await.unwrap().removed);
    assert!(bench.json::<RemoveVolume>(undo.clone()).await.unwrap().removed);
    assert!(!bench.json::<RemoveVolume>(undo).await.unwrap().removed);
    unchanged(&refused(bench.json::<RemoveVolume>(json!({"name": bench.name("none")})).await, ErrorKind::NotFound));
}

#[tokio::test]
async fn a_volume_created_with_its_container_has_the_labels() {
    let bench = Bench::new().await;
    let request = json!({
        "name": bench.name("web"), "image": IMAGE, "command": ["true"], "volumes": [format!("{}:/data", bench.name("new"))],
    });
    bench.json::<RunContainer>(request).await.unwrap();
    let made = bench.json::<ListVolumes>(json!({"name": bench.name("new")})).await.unwrap();
    assert_eq!(made[0].labels[labels::RUN], bench.call.run.as_str());
}

#[tokio::test]
async fn files_of_a_volume_can_be_read_in_place_and_as_copies() {
    let bench = Bench::new().await;
    let data = bench.name("data");
    let request = json!({
        "name": bench.name("writer"), "image": IMAGE, "volumes": [format!("{data}:/data")],
        "command": ["sh", "-c", "mkdir /data/db; cd /data/db; echo main > app; echo log > app-wal; echo no > other"],
    });
    bench.json::<RunContainer>(request).await.unwrap();
    bench.json::<WaitContainer>(json!({"container": bench.name("writer")})).await.unwrap();

    let local = bench.world.engine();
    let file = local.volume_file(&data, "db/app").await.unwrap();
    assert!(!file.is_copy());
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "main\n");

    // The same engine at the address `0.0.0.0`, which is not loopback, so that it counts as remote.
    let forwarder = Forwarder::start(local.address()).await;
    let world = DockerWorld::open(forwarder.spec(), holder(), CONNECT).await.unwrap();
    let remote = world.engine();
    assert!(!remote.is_on_this_host());
    assert!(remote.memory().await.unwrap().available_mb.is_none());
    let file = remote.volume_file(&data, "db/app").await.unwrap();
    assert!(file.is_copy());
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "main\n");
    assert_eq!(std::fs::read_to_string(file.path().with_file_name("app-wal")).unwrap(), "log\n");
    assert!(!file.path().with_file_name("other").exists());
    let folder = remote.volume_file(&data, ".").await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("db/other")).unwrap(), "no\n");
    let left = docker(&[
        "ps",
        "--all",
        "--quiet",
        "--filter",
        &format!("volume={data}"),
        "--filter",
        "label=deployer.role=copy",
    ]);
    assert_eq!(left, "", "the container of the copy is gone");
    for engine in [local, remote] {
        refused(engine.volume_file(&data, "db/none").await, ErrorKind::NotFound);
        refused(engine.volume_file(&data, "../x").await, ErrorKind::Invalid);
        refused(engine.volume_file(&bench.name("none"), "x").await, ErrorKind::NotFound);
    }
}

/// Forwards a TCP port to the engine's socket.
struct Forwarder {
    port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Forwarder {
    async fn start(address: &str) -> Self {
        let socket = address.strip_prefix("unix://").expect("the engine of the tests has a Unix socket").to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut engine = tokio::net::UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut engine).await });
            }
        });
        Self { port, task }
    }

    fn spec(&self) -> ConnectSpec {
        ConnectSpec::at(format!("tcp://0.0.0.0:{}", self.port))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
