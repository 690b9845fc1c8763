//! Copies of local volumes, compared by a separate Python program; also killed, timed out, and on a full disk.

use crate::local_fixture;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use deployer::base::seq::Branch;
use deployer::effect::container::RunContainer;
use deployer::effect::volume::*;
use deployer::effect::{EffectError, ErrorKind, Request};
use deployer::world::{Call, World};
use local_fixture::{LocalFixture, spec};
use serde_json::{Value, json};

const SUPPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support");

fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg(format!("{SUPPORT}/{script}")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn tree(folder: &Path) -> String {
    python("list_tree.py", &[folder.to_str().unwrap(), "exact"])
}

fn request<R: serde::de::DeserializeOwned>(value: Value) -> R {
    serde_json::from_value(value).unwrap()
}

fn data(local: &LocalFixture, volume: &str) -> PathBuf {
    local.folder.path().join(format!("state/volumes/{volume}/data"))
}

/// Performs a request as the next effect of the run.
async fn ask<R: Request>(local: &LocalFixture, request: R) -> Result<R::Reply, EffectError> {
    static POSITIONS: LazyLock<Branch> = LazyLock::new(Branch::root);
    let call = Call { seq: POSITIONS.next(), ..local.call.clone() };
    let outcome = local.world.perform(&call, &request.into()).await?;
    Ok(serde_json::from_value(outcome.value()).unwrap())
}

async fn create_volume(local: &LocalFixture, volume: &str) -> PathBuf {
    ask(local, request::<CreateVolume>(json!({"name": volume}))).await.unwrap();
    data(local, volume)
}

fn assert_same_tree(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    let difference = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert_eq!(difference, None);
    assert_eq!(one.lines().count(), other.lines().count());
}

#[tokio::test]
async fn a_clone_equals_its_source() {
    let local = LocalFixture::new();
    let source = create_volume(&local, "data").await;
    python("make_tree.py", &[source.to_str().unwrap(), "2000"]);
    let copied = ask(&local, request::<CloneVolume>(json!({"volume": "data", "to": "copy"}))).await.unwrap();
    assert_same_tree(&source, &data(&local, "copy"));
    let blocks = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path.join("sparse")).unwrap());
    assert!(blocks(&data(&local, "copy")) <= blocks(&source) + 64, "sparse files stay sparse");
    let size = ask(&local, request::<MeasureVolume>(json!({"volume": "copy"}))).await.unwrap();
    assert_eq!((size.bytes, size.files), (copied.content.bytes, Some(copied.content.files)));

    // The digest depends on the whole content and on nothing else.
    let again = ask(&local, request::<CloneVolume>(json!({"volume": "copy", "to": "again"}))).await.unwrap();
    assert_eq!(again.content.digest, copied.content.digest);
    assert!(copied.content.digest.is_some());
    fs::write(data(&local, "again").join("plain"), "hellO\n").unwrap();
    let other = ask(&local, request::<CloneVolume>(json!({"volume": "again", "to": "other"}))).await.unwrap();
    assert_ne!(other.content.digest, copied.content.digest);

    let unverified = json!({"volume": "data", "to": "quick", "verify": false});
    assert_eq!(ask(&local, request::<CloneVolume>(unverified)).await.unwrap().content.digest, None);
    assert_same_tree(&source, &data(&local, "quick"));
}

#[tokio::test]
async fn names_that_are_taken_or_missing_are_refused() {
    let local = LocalFixture::new();
    create_volume(&local, "data").await;
    create_volume(&local, "copy").await;
    let refused = async |value: Value| ask(&local, request::<CloneVolume>(value)).await.unwrap_err().kind;
    assert_eq!(refused(json!({"volume": "data", "to": "copy"})).await, ErrorKind::NameTaken);
    assert_eq!(refused(json!({"volume": "none", "to": "new"})).await, ErrorKind::NotFound);
    assert_eq!(refused(json!({"volume": "data", "to": "data"})).await, ErrorKind::Invalid);
    assert_eq!(refused(json!({"volume": "data", "to": "../data"})).await, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_writer_is_refused_paused_or_allowed() {
    let local = LocalFixture::with_empty_image().await;
    let source = create_volume(&local, "data").await;
    fs::write(source.join("big"), vec![7; 64 << 20]).unwrap();
    let line = "i=0; while true; do i=$((i+1)); echo $i > /shared/count; done";
    let run =
        json!({"name": "writer", "image": "empty", "volumes": ["data:/shared"], "command": ["/bin/sh", "-c", line]});
    ask(&local, RunContainer(spec(run))).await.unwrap();
    let counts = || fs::read_to_string(source.join("count")).unwrap_or_default();
    wait_until(|| !counts().is_empty());
    let clone = |to: &str, how: &str| request::<CloneVolume>(json!({"volume": "data", "to": to, "while_written": how}));
    let error = ask(&local, clone("one", "refuse")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("`writer`") && error.applied == deployer::effect::Applied::No, "{error:?}");
    ask(&local, clone("two", "pause")).await.unwrap();
    let before = counts();
    wait_until(|| counts() != before);
    ask(&local, clone("three", "allow")).await.unwrap();
    assert_eq!(fs::read(data(&local, "three").join("big")).unwrap().len(), 64 << 20);
    local.remove("writer").await;
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "the condition was not met in time");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_restore_keeps_the_replaced_data_and_can_be_undone() {
    let local = LocalFixture::new();
    let source = create_volume(&local, "data").await;
    fs::write(source.join("row"), "one").unwrap();
    let kept = ask(&local, request::<SnapshotVolume>(json!({"volume": "data"}))).await.unwrap();
    assert!(kept.name.starts_with("data.at-2"), "{kept:?}");
    fs::write(source.join("row"), "two").unwrap();
    let restore = request::<RestoreVolume>(json!({"snapshot": kept.name}));
    let restored = ask(&local, restore.clone()).await.unwrap();
    let row = |volume: &str| fs::read_to_string(data(&local, volume).join("row")).unwrap();
    let replaced = restored.kept.unwrap();
    assert_eq!((row("data").as_str(), row(&replaced).as_str(), row(&kept.name).as_str()), ("one", "two", "one"));

    let undo = request::<RestoreVolume>(json!({"snapshot": replaced, "to": "data", "only_own": true}));
    assert!(ask(&local, undo.clone()).await.unwrap().restored);
    assert_eq!(row("data"), "two");
    assert!(!data(&local, &replaced).exists());
    assert!(!ask(&local, undo).await.unwrap().restored, "the undo is applied only once");

    create_volume(&local, "other").await;
    let before = ask(&local, request::<ListVolumes>(json!({"name": "data"}))).await.unwrap();
    let swap = request::<SwapVolumes>(json!({"volume": "data", "other": "other"}));
    assert!(ask(&local, swap.clone()).await.unwrap().swapped);
    assert_eq!(row("other"), "two");
    let back = SwapVolumes { back_to: before[0].content_id.clone(), ..swap };
    assert!(ask(&local, back.clone()).await.unwrap().swapped);
    assert_eq!(row("data"), "two");
    assert!(!ask(&local, back).await.unwrap().swapped, "the undo is applied only once");
}

#[tokio::test]
async fn old_snapshots_are_pruned_and_used_ones_are_kept() {
    let local = LocalFixture::with_empty_image().await;
    create_volume(&local, "data").await;
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(ask(&local, request::<SnapshotVolume>(json!({"volume": "data"}))).await.unwrap().name);
    }
    ask(&local, request::<CloneVolume>(json!({"volume": "data", "to": "clone"}))).await.unwrap();
    let mount = format!("{}:/shared", names[0]);
    let run = json!({"name": "user", "image": "empty", "volumes": [mount], "command": ["true"]});
    ask(&local, RunContainer(spec(run))).await.unwrap();
    let prune = |value: Value| ask(&local, request::<PruneVolumes>(value));
    assert_eq!(prune(json!({"volume": "data"})).await.unwrap(), Pruned::default());
    assert_eq!(prune(json!({"keep": 0, "older_than": "1h"})).await.unwrap(), Pruned::default());
    let pruned = prune(json!({"volume": "data", "keep": 2})).await.unwrap();
    assert_eq!((pruned.removed, pruned.in_use), (vec![names[1].clone()], vec![names[0].clone()]));
    let left = ask(&local, request::<ListVolumes>(json!({}))).await.unwrap();
    assert_eq!(left.len(), 5, "data, clone, the two newest snapshots and the used one: {left:?}");
}

#[tokio::test]
async fn a_copy_that_times_out_leaves_nothing() {
    let local = LocalFixture::new();
    let source = create_volume(&local, "data").await;
    fs::write(source.join("big"), vec![1; 256 << 20]).unwrap();
    let late = request::<CloneVolume>(json!({"volume": "data", "to": "copy", "timeout": "20ms"}));
    assert_eq!(ask(&local, late).await.unwrap_err().kind, ErrorKind::Timeout);
    let left: Vec<_> = fs::read_dir(local.folder.path().join("state/volumes")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_nothing() {
    let local = LocalFixture::new();
    let source = create_volume(&local, "data").await;
    let volumes = source.ancestors().nth(2).unwrap().to_owned();
    let _mounted = mount(&volumes, "24m");
    create_volume(&local, "small").await;
    fs::write(data(&local, "small").join("big"), vec![1; 16 << 20]).unwrap();
    let error = ask(&local, request::<CloneVolume>(json!({"volume": "small", "to": "copy"}))).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::DiskFull, deployer::effect::Applied::No), "{error:?}");
    let names: Vec<_> = fs::read_dir(&volumes).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["small"]);
}

/// Mounts a file system in memory with this size.
fn mount(folder: &Path, size: &str) -> Mounted {
    let options = format!("size={size},nr_inodes=1m");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder).status().unwrap();
    assert!(status.success(), "tests run as root");
    Mounted(folder.to_owned())
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_copy_of_a_hundred_thousand_small_files_that_is_killed_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    // In memory, because the speed of the disk does not matter here.
    let _mounted = mount(&state, "2g");
    let deployer = |args: &[&str], script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deployer"));
        command.args(args).args(["--engine", "local", "--state"]).arg(&state).env("HOME", folder.path());
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), script.as_bytes()).unwrap();
        drop(child.stdin.take());
        child
    };
    let done = |args: &[&str], script: &str| {
        let output = deployer(args, script).wait_with_output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        text
    };
    let run = ["run", "-"];
    done(&run, "volume_create(\"data\")");
    let find = |name: &str| {
        let output = Command::new("find").arg(&state).args(["-path", name, "-name", "data"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().next().map(PathBuf::from)
    };
    let source = find("*/volumes/data/data").expect("the volume's folder");
    python("make_tree.py", &[source.to_str().unwrap(), "100000"]);
    // Number of folders, with a thousand files each, that are copied when the process is killed.
    for folders in [0, 20, 70] {
        let mut child = deployer(&run, "volume_clone(\"data\", \"copy\")");
        let begun = |half: PathBuf| half.join("many").read_dir().is_ok_and(|names| names.count() > folders);
        wait_until(|| find("*/volumes/.copy-copy/data").is_some_and(begun));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(find("*/volumes/copy/data").is_none(), "an incomplete copy has no name");
        if folders == 0 {
            assert!(done(&run, "print(volume_list().len())").contains('1'));
        }
    }
    // Resumes the run that was killed last.
    done(&["resume"], "");
    assert_same_tree(&source, &find("*/volumes/copy/data").unwrap());
    assert!(find("*/volumes/.copy-copy/data").is_none(), "the temporary copy is removed");
}
