//! Copies of volumes, as files and through the engine. A program that shares no code with deployer compares them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use deployer::base::seq::Branch;
use deployer::effect::container::RunContainer;
use deployer::effect::volume::*;
use deployer::effect::{Applied, EffectError, ErrorKind, Request};
use deployer::world::Call;
use serde_json::{Value, json};

use super::bench::{Bench, IMAGE, call_of, docker, perform, random_run, refused, unchanged};

const SUPPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support");
const WAYS: [&str; 2] = ["files", "engine"];

fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg(format!("{SUPPORT}/{script}")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assert_same(one: &Path, other: &Path, exactness: &str) {
    let lines = |folder: &Path| python("list_tree.py", &[folder.to_str().unwrap(), exactness]);
    let (one, other) = (lines(one), lines(other));
    assert_eq!(one.lines().zip(other.lines()).find(|(one, other)| one != other), None);
    assert_eq!(one.lines().count(), other.lines().count());
}

fn folder(volume: &str) -> PathBuf {
    docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume]).trim().into()
}

/// Performs the request as the next effect of the run.
async fn ask<R: Request>(bench: &Bench, value: Value) -> Result<R::Reply, EffectError> {
    static BRANCH: LazyLock<Branch> = LazyLock::new(Branch::root);
    let call = Call { seq: BRANCH.next(), ..bench.call.clone() };
    perform(&bench.world, &call, serde_json::from_value::<R>(value).unwrap()).await
}

async fn create_volume(bench: &Bench, volume: &str) -> PathBuf {
    ask::<CreateVolume>(bench, json!({"name": bench.name(volume)})).await.unwrap();
    folder(&bench.name(volume))
}

/// Lists leftovers of copies of this bench's volumes. There should be none.
fn leftovers(bench: &Bench) -> String {
    let containers = docker(&["ps", "--all", "--filter", "label=deployer.role=copy", "--format", "{{.Mounts}}"]);
    let volumes = docker(&["volume", "ls", "--quiet"]);
    let of_bench = |line: &&str| line.contains(&bench.prefix);
    let is_temporary =
        |line: &&str| line.contains("deployer-copying") || line.contains("deployer-guard") || line.contains(".next");
    containers
        .lines()
        .filter(of_bench)
        .chain(volumes.lines().filter(of_bench).filter(is_temporary))
        .collect::<Vec<_>>()
        .join("\n")
}

fn wait_for(what: &str, mut is_done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_done() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_clone_equals_its_source_in_either_way() {
    let bench = Bench::new().await;
    let source = create_volume(&bench, "data").await;
    python("make_tree.py", &[source.to_str().unwrap(), "3000"]);
    for (way, exactness) in WAYS.into_iter().zip(["exact", "coarse"]) {
        let to = bench.name(way);
        let request = json!({"volume": bench.name("data"), "to": to, "way": way, "labels": {"mine": "yes"}});
        let copied = ask::<CloneVolume>(&bench, request).await.unwrap();
        assert_eq!(copied.content.way, way);
        assert!(copied.content.digest.is_some());
        assert_same(&source, &folder(&to), exactness);
        let size = ask::<MeasureVolume>(&bench, json!({"volume": to})).await.unwrap();
        assert_eq!((size.bytes, size.files), (copied.content.bytes, Some(copied.content.files)));
        let listed = ask::<ListVolumes>(&bench, json!({"name": to})).await.unwrap();
        assert_eq!(
            (listed[0].labels["mine"].as_str(), listed[0].labels["deployer.copy.of"].as_str()),
            ("yes", bench.name("data").as_str())
        );
    }
    assert!(
        bench.progress.lock().unwrap().iter().any(|step| step.fraction == Some(1.0)),
        "the progress reaches its end"
    );
    assert_eq!(leftovers(&bench), "");
}

#[tokio::test]
async fn names_in_use_or_missing_change_nothing() {
    let bench = Bench::new().await;
    create_volume(&bench, "data").await;
    create_volume(&bench, "copy").await;
    let (data, copy) = (bench.name("data"), bench.name("copy"));
    for (from, to, kind) in [
        (&data, &copy, ErrorKind::NameTaken),
        (&data, &data, ErrorKind::Invalid),
        (&bench.name("none"), &bench.name("new"), ErrorKind::NotFound),
        (&data, &"a/b".to_owned(), ErrorKind::Invalid),
    ] {
        unchanged(&refused(ask::<CloneVolume>(&bench, json!({"volume": from, "to": to})).await, kind));
    }
    assert_eq!(leftovers(&bench), "");
}

#[tokio::test]
async fn a_writer_is_refused_paused_or_allowed() {
    let bench = Bench::new().await;
    let source = create_volume(&bench, "data").await;
    std::fs::write(source.join("big"), vec![7; 64 << 20]).unwrap();
    let line = "i=0; while true; do i=$((i+1)); echo $i > /data/count; done";
    let mount = format!("{}:/data", bench.name("data"));
    let run = json!({"name": bench.name("writer"), "image": IMAGE, "networks": ["none"], "volumes": [mount], "command": ["sh", "-c", line]});
    ask::<RunContainer>(&bench, run).await.unwrap();
    let count = || std::fs::read_to_string(source.join("count")).unwrap_or_default();
    wait_for("the first write", || !count().is_empty());
    let clone = |to: &str, how: &str, way: &str| json!({"volume": bench.name("data"), "to": bench.name(to), "while_written": how, "way": way});
    let state = || docker(&["inspect", "--format", "{{.State.Status}}", &bench.name("writer")]).trim().to_owned();
    for way in WAYS {
        let name = |how: &str| format!("{way}-{how}");
        let error =
            refused(ask::<CloneVolume>(&bench, clone(&name("refuse"), "refuse", way)).await, ErrorKind::Conflict);
        unchanged(&error);
        assert!(error.message.contains(&bench.name("writer")), "{error}");
        ask::<CloneVolume>(&bench, clone(&name("pause"), "pause", way)).await.unwrap();
        assert_eq!(state(), "running");
        let before = count();
        wait_for("a write after the pause", || count() != before);
    }
    ask::<CloneVolume>(&bench, clone("allow", "allow", "files")).await.unwrap();
    assert_eq!(std::fs::metadata(folder(&bench.name("allow")).join("big")).unwrap().len(), 64 << 20);
    assert_eq!(leftovers(&bench), "");
}

#[tokio::test]
async fn a_copy_that_times_out_leaves_nothing_and_unpauses_the_writer() {
    let bench = Bench::new().await;
    let source = create_volume(&bench, "data").await;
    std::fs::write(source.join("big"), vec![7; 300 << 20]).unwrap();
    let mount = format!("{}:/data", bench.name("data"));
    let run = json!({"name": bench.name("user"), "image": IMAGE, "networks": ["none"], "volumes": [mount], "command": ["sleep", "600"]});
    ask::<RunContainer>(&bench, run).await.unwrap();
    for way in WAYS {
        let request = json!({
            "volume": bench.name("data"), "to": bench.name("copy"), "way": way, "while_written": "pause", "timeout": "250ms",
        });
        let error = refused(ask::<CloneVolume>(&bench, request).await, ErrorKind::Timeout);
        assert_eq!(error.applied, Applied::No, "{way}: {error:?}");
        assert!(ask::<ListVolumes>(&bench, json!({"name": bench.name("copy")})).await.unwrap().is_empty());
        let state = docker(&["inspect", "--format", "{{.State.Status}}", &bench.name("user")]);
        assert_eq!(state.trim(), "running");
        assert_eq!(leftovers(&bench), "", "{way}");
    }
}

/// Creates what a killed process leaves: the marker, the partial copy with its container, and a paused container.
#[tokio::test]
async fn a_partial_copy_is_never_used_as_a_complete_one() {
    let bench = Bench::new().await;
    let source = create_volume(&bench, "data").await;
    std::fs::write(source.join("row"), "1").unwrap();
    let (data, copy) = (bench.name("data"), bench.name("copy"));
    let mount = format!("{data}:/data");
    let run = json!({"name": bench.name("user"), "image": IMAGE, "networks": ["none"], "volumes": [mount], "command": ["sleep", "600"]});
    let user = ask::<RunContainer>(&bench, run).await.unwrap();
    let leave = |copy: &str| {
        let run = format!("deployer.run={}", bench.call.run);
        let mark = format!("deployer-copying-{copy}");
        docker(&["pause", &user.id]);
        docker(&[
            "volume",
            "create",
            "--label",
            "deployer.role=copying",
            "--label",
            &run,
            "--label",
            &format!("deployer.copy.of={data}"),
            "--label",
            &format!("deployer.copy.to={copy}"),
            "--label",
            &format!("deployer.copy.paused={}", user.id),
            &mark,
        ]);
        docker(&["volume", "create", "--label", &run, "--label", &format!("deployer.copy.of={data}"), copy]);
        docker(&[
            "create",
            "--label",
            "deployer.role=copy",
            "--label",
            &format!("deployer.copy.to={copy}"),
            "--volume",
            &format!("{copy}:/v"),
            "--volume",
            &format!("{mark}:/m"),
            IMAGE,
            "true",
        ]);
        std::fs::write(folder(copy).join("half"), "").unwrap();
    };
    let state = || docker(&["inspect", "--format", "{{.State.Status}}", &user.id]).trim().to_owned();

    leave(&copy);
    assert!(ask::<ListVolumes>(&bench, json!({"name": copy})).await.unwrap().is_empty(), "the copy does not exist yet");
    refused(ask::<CreateVolume>(&bench, json!({"name": copy})).await, ErrorKind::Conflict);
    let run = json!({"name": bench.name("bad"), "image": IMAGE, "networks": ["none"], "volumes": [format!("{copy}:/v")], "command": ["true"]});
    unchanged(&refused(ask::<RunContainer>(&bench, run).await, ErrorKind::Conflict));
    let request = json!({"volume": copy, "to": bench.name("second")});
    unchanged(&refused(ask::<CloneVolume>(&bench, request).await, ErrorKind::Conflict));
    let undo = json!({"name": copy, "missing_ok": true, "only_own": true});
    let foreign: RemoveVolume = serde_json::from_value(undo.clone()).unwrap();
    assert!(
        !perform(&bench.world, &call_of(&random_run()), foreign).await.unwrap().removed,
        "another run cannot remove it"
    );
    assert_eq!(state(), "paused");
    assert!(ask::<RemoveVolume>(&bench, undo).await.unwrap().removed, "the undo removes it");
    assert_eq!((state().as_str(), leftovers(&bench).as_str()), ("running", ""));

    leave(&copy);
    let pruned = ask::<PruneVolumes>(&bench, json!({"volume": data, "only_own": true})).await.unwrap();
    assert_eq!(pruned.unfinished, std::slice::from_ref(&copy));
    assert_eq!((state().as_str(), leftovers(&bench).as_str()), ("running", ""));

    leave(&copy);
    let again = json!({"volume": data, "to": copy, "while_written": "allow"});
    ask::<CloneVolume>(&bench, again).await.unwrap();
    assert_same(&source, &folder(&copy), "exact");
    assert_eq!((state().as_str(), leftovers(&bench).as_str()), ("running", ""));
}

#[tokio::test]
async fn a_restore_keeps_the_replaced_data_and_can_be_undone_in_either_way() {
    for way in WAYS {
        let bench = Bench::new().await;
        let source = create_volume(&bench, "data").await;
        let data = bench.name("data");
        let row = |volume: &str| std::fs::read_to_string(folder(volume).join("row")).unwrap();
        std::fs::write(source.join("row"), "one").unwrap();
        let snapshot = ask::<SnapshotVolume>(&bench, json!({"volume": data, "way": way})).await.unwrap();
        std::fs::write(source.join("row"), "two").unwrap();
        std::fs::write(source.join("more"), "").unwrap();

        let mount = format!("{data}:/data");
        let run = json!({"name": bench.name("user"), "image": IMAGE, "networks": ["none"], "volumes": [mount], "command": ["sleep", "600"]});
        ask::<RunContainer>(&bench, run).await.unwrap();
        let request = json!({"snapshot": snapshot.name, "way": way});
        unchanged(&refused(ask::<RestoreVolume>(&bench, request.clone()).await, ErrorKind::Conflict));
        docker(&["rm", "--force", &bench.name("user")]);

        let restored = ask::<RestoreVolume>(&bench, request).await.unwrap();
        let replaced = restored.kept.unwrap();
        assert_eq!((row(&data).as_str(), row(&replaced).as_str(), row(&snapshot.name).as_str()), ("one", "two", "one"));
        assert!(!folder(&data).join("more").exists() && folder(&replaced).join("more").exists());
        let undo = json!({"snapshot": replaced, "to": data, "only_own": true, "way": way});
        assert!(ask::<RestoreVolume>(&bench, undo.clone()).await.unwrap().restored);
        assert_eq!(row(&data), "two");
        assert!(folder(&data).join("more").exists());
        assert!(!ask::<RestoreVolume>(&bench, undo).await.unwrap().restored, "a second time changes nothing");
        let names: Vec<String> =
            ask::<ListVolumes>(&bench, json!({})).await.unwrap().into_iter().map(|volume| volume.name).collect();
        assert!(!names.contains(&replaced));
        assert_eq!(leftovers(&bench), "");
    }
}

#[tokio::test]
async fn two_volumes_are_swapped_and_swapped_back() {
    let bench = Bench::new().await;
    let (one, other) = (create_volume(&bench, "one").await, create_volume(&bench, "other").await);
    std::fs::write(one.join("row"), "1").unwrap();
    std::fs::write(other.join("row"), "2").unwrap();
    let listed = ask::<ListVolumes>(&bench, json!({"name": bench.name("one")})).await.unwrap();
    let swap = json!({"volume": bench.name("one"), "other": bench.name("other")});
    assert!(ask::<SwapVolumes>(&bench, swap.clone()).await.unwrap().swapped);
    let row = |folder: &Path| std::fs::read_to_string(folder.join("row")).unwrap();
    assert_eq!((row(&one).as_str(), row(&other).as_str()), ("2", "1"));
    let mount = format!("{}:/data", bench.name("one"));
    let run = json!({"name": bench.name("user"), "image": IMAGE, "networks": ["none"], "volumes": [mount], "command": ["cat", "/data/row"]});
    let run = ask::<RunContainer>(&bench, run).await.unwrap();
    docker(&["wait", &run.id]);
    assert_eq!(docker(&["logs", &run.id]), "2", "containers see it too");
    let back = json!({"volume": bench.name("one"), "other": bench.name("other"), "back_to": listed[0].content_id});
    assert!(ask::<SwapVolumes>(&bench, back.clone()).await.unwrap().swapped);
    assert_eq!(row(&one), "1");
    assert!(!ask::<SwapVolumes>(&bench, back).await.unwrap().swapped, "a second time changes nothing");
    docker(&[
        "run",
        "--detach",
        "--name",
        &bench.name("busy"),
        "--volume",
        &format!("{}:/d", bench.name("other")),
        IMAGE,
        "sleep",
        "600",
    ]);
    unchanged(&refused(ask::<SwapVolumes>(&bench, swap).await, ErrorKind::Conflict));
    assert_eq!(leftovers(&bench), "");
}

#[tokio::test]
async fn pruning_removes_old_snapshots_and_keeps_used_ones() {
    let bench = Bench::new().await;
    create_volume(&bench, "data").await;
    let data = bench.name("data");
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(ask::<SnapshotVolume>(&bench, json!({"volume": data})).await.unwrap().name);
    }
    docker(&["create", "--name", &bench.name("user"), "--volume", &format!("{}:/d", names[0]), IMAGE, "true"]);
    let prune = |value: Value| ask::<PruneVolumes>(&bench, value);
    assert_eq!(prune(json!({"volume": data})).await.unwrap(), Pruned::default());
    assert_eq!(prune(json!({"volume": data, "older_than": "1h"})).await.unwrap(), Pruned::default());
    let pruned = prune(json!({"volume": data, "keep": 2})).await.unwrap();
    assert_eq!((pruned.removed, pruned.in_use), (vec![names[1].clone()], vec![names[0].clone()]));
}
