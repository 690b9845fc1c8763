//! The local world's images, networks, locks and files: what is stored, and what is not.

use crate::local_fixture;

use std::fs;
use std::path::Path;

use deployer::base::duration_text::DurationText;
use deployer::effect::container::*;
use deployer::effect::image::*;
use deployer::effect::lock::*;
use deployer::effect::network::*;
use deployer::effect::{Applied, ErrorKind};
use deployer::world::process_identity::ProcessIdentity;
use local_fixture::{LocalFixture, WEB, spec, until};
use serde_json::json;

fn remove_image(image: &str, force: bool) -> RemoveImage {
    RemoveImage { image: image.into(), force, missing_ok: false, disposable: false }
}

#[tokio::test]
async fn images_with_the_same_files_have_the_same_id() {
    let local = LocalFixture::new();
    let one = local.build("web:v1", WEB).await;
    let two = local.another_run().build("web:v2", WEB).await;
    assert_eq!(one.id, two.id);
    assert_eq!(two.tags, ["web:v1", "web:v2"]);
    let other =
        local.build("other", &[("Dockerfile", "FROM web:v1\nENV GREETING=bye\nCOPY . /extra/\n"), ("a/b", "c")]).await;
    assert_ne!(other.id, one.id);
    assert_eq!(other.tags, ["other:latest"]);
    let list = async |name: &str| {
        let request = ListImages { name: Some(name.into()), ..ListImages::default() };
        local.ask(request).await.unwrap().into_iter().map(|image| image.id).collect::<Vec<_>>()
    };
    for name in ["web", "web:v2", one.id.as_str(), &one.id[7..19]] {
        assert_eq!(list(name).await, [one.id.as_str()], "{name}");
    }
    assert!(list("we").await.is_empty());
    local.ask(TagImage { image: "web:v2".into(), tag: "web:rollback".into() }).await.unwrap();
    assert!(local.ask(remove_image("web:v2", false)).await.unwrap().removed);
    assert!(local.ask(remove_image("web:v1", false)).await.unwrap().removed);
    local.ask(RunContainer(spec(json!({"name": "web", "image": "web:rollback"})))).await.unwrap();
    assert_eq!(local.ask(remove_image("web:rollback", false)).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(local.ask(remove_image("web:rollback", true)).await.unwrap().removed);
    let error = local.ask(remove_image("web:rollback", false)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(local.inspect("web").await.is_running());
}

#[tokio::test]
async fn a_build_uses_only_its_context() {
    let local = LocalFixture::new();
    let image = local
        .build(
            "web",
            &[
                (".dockerignore", "*.md\nsecret\n!README.md\n"),
                ("Dockerfile", "FROM scratch\nARG V=x\nWORKDIR /app\nCOPY --chmod=700 run.sh bin/\nCOPY . /all\nCOPY a*.txt one/b.txt texts/\nENV \\\n  A=${V:-y} \\\n  # why\n  B=\"$A b\"\nCMD echo $A; cat /all/one/b.txt; exec sleep 600\n"),
                ("run.sh", "#!/bin/sh\n"),
                ("notes.md", ""),
                ("README.md", ""),
                ("secret/key", ""),
                ("a1.txt", "1"),
                ("one/b.txt", "file b\n"),
            ],
        )
        .await;
    local
        .ask(RunContainer(spec(json!({"name": "web", "image": image.id, "environment": {"A": "/all/one"}}))))
        .await
        .unwrap();
    local.wait_for_log("web", "file b").await;
    let root = local.container_folder("web").join("root");
    for (path, there) in [
        ("app/bin/run.sh", true),
        ("all/README.md", true),
        ("all/notes.md", false),
        ("all/secret", false),
        ("all/one/b.txt", true),
        ("app/texts/a1.txt", true),
        ("app/texts/b.txt", true),
    ] {
        assert_eq!(root.join(path).exists(), there, "{path}");
    }
    assert!(local.log("web").starts_with(root.join("all/one").to_str().unwrap()), "{}", local.log("web"));
}

#[tokio::test]
async fn dockerfile_errors_have_the_line() {
    let local = LocalFixture::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), "").unwrap();
    fs::write(folder.path().join(".dockerignore"), "hidden\n").unwrap();
    fs::write(folder.path().join("hidden"), "").unwrap();
    for (text, kind, expected) in [
        (
            "FROM scratch\nRUN make\n",
            ErrorKind::Unsupported,
            ":2: `RUN` is not supported with `--engine local`: there is no container",
        ),
        ("FROM scratch\n\nHEALTHCHECK CMD x\n", ErrorKind::Unsupported, ":3: `HEALTHCHECK` is not supported"),
        ("FROM scratch\nCOPYY a b\n", ErrorKind::Invalid, ":2: `COPYY` is not an instruction"),
        ("FROM scratch\nCOPY --chown=1:1 app.py /\n", ErrorKind::Unsupported, ":2: `COPY --chown`"),
        ("FROM scratch\nCOPY app.pyy /\n", ErrorKind::Invalid, "did you mean `app.py`?"),
        ("FROM scratch\nCOPY ../x /\n", ErrorKind::Invalid, ":2: `COPY`: `../x` is outside the build context"),
        ("FROM scratch\nCOPY hidden /\n", ErrorKind::Invalid, "excluded from the build context by `.dockerignore`"),
        ("FROM python:3.11-slim\n", ErrorKind::Invalid, ":1: `FROM python:3.11-slim`: local image not found"),
        ("FROM scratch\nFROM scratch\n", ErrorKind::Unsupported, ":2: a second `FROM`"),
        ("FROM scratch\nENV A=\"x\n", ErrorKind::Invalid, ":2: a `\"` is not closed"),
        ("FROM scratch\nEXPOSE eighty\n", ErrorKind::Invalid, ":2: `EXPOSE eighty`: not a port"),
        ("COPY app.py /\n", ErrorKind::Invalid, ":1: `COPY` comes before `FROM`"),
        ("", ErrorKind::Invalid, "`FROM` is missing"),
    ] {
        fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let error = local.build_folder("web", folder.path()).await.unwrap_err();
        assert_eq!((error.kind, error.applied), (kind, Applied::No), "{text}: {error}");
        assert!(error.message.contains(expected), "{text}: {error}");
        assert!(error.message.contains("Dockerfile:"), "{text}: {error}");
    }
    fs::write(folder.path().join("Dockerfile"), "FROM scratch\nARG VERSION\n").unwrap();
    let build = |args: serde_json::Value| {
        serde_json::from_value::<BuildImage>(json!({"context": folder.path(), "tag": "web", "args": args})).unwrap()
    };
    let error = local.ask(build(json!({"VERSIO": "1"}))).await.unwrap_err();
    assert_eq!(error.hint.unwrap(), "did you mean `VERSION`?");
    let error = local.ask(build(json!({"VERSION": {"secret_text": [{"secret": "TOKEN"}]}}))).await.unwrap_err();
    assert!(error.message.contains("is a secret"), "{error}");
    let error = local.build_folder("web", Path::new("/no/such/folder")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let left: Vec<_> = fs::read_dir(local.folder.path().join("state/images")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn secrets_reach_the_program_and_no_file() {
    let local = LocalFixture::with_empty_image().await;
    let run = json!({
        "name": "web", "image": "empty", "restart": "always",
        "environment": {"KEY": {"secret_text": ["Bearer ", {"secret": "TOKEN"}]}},
        "healthcheck": {"test": ["CMD-SHELL", "test ${#KEY} = 25"], "interval": "20ms"},
        "command": ["/bin/sh", "-c", "echo ${#KEY}; exec sleep 600"],
    });
    let made = local.ask(RunContainer(spec(run))).await.unwrap();
    assert_eq!(made.environment, ["KEY"]);
    local.wait_for_log("web", "25").await;
    until(|| (local.state("web")["health"] == "healthy").then_some(())).await;
    // A restart by policy passes the value too.
    local_fixture::kill_9(local.child_pid("web"));
    until(|| (local.log("web").matches("25").count() == 2).then_some(())).await;
    let exec = json!({"container": "web", "command": ["/bin/sh", "-c", "echo ${#KEY}"]});
    let result = local.another_run().ask(serde_json::from_value::<ExecInContainer>(exec).unwrap()).await.unwrap();
    assert_eq!(result.stdout, "25\n");
    let mut count = 0;
    each_file(local.folder.path(), &mut |path| {
        count += 1;
        let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        assert!(!text.contains("s3cret-0f-the-test"), "{}", path.display());
    });
    assert!(count > 5);
    let missing = json!({"name": "x", "image": "empty", "environment": {"K": {"secret_text": [{"secret": "NONE"}]}}});
    let error = local.ask(RunContainer(spec(missing))).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::MissingSecret, Applied::No));
}

fn each_file(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => each_file(&path, visit),
            kind if kind.is_file() => visit(&path),
            _ => {}
        }
    }
}

#[tokio::test]
async fn damaged_state_is_reported_and_hides_no_other_container() {
    let local = LocalFixture::with_empty_image().await;
    let run = |name: &str| RunContainer(spec(json!({"name": name, "image": "empty", "command": ["sleep", "600"]})));
    local.ask(run("good")).await.unwrap();
    local.ask(run("bad")).await.unwrap();
    let file = local.container_folder("bad").join("config.json");
    let text = fs::read_to_string(&file).unwrap();
    for damaged in ["", "{\"id\": \"x\"", "[]", "\u{0}\u{0}"] {
        fs::write(&file, damaged).unwrap();
        for error in [
            local.ask(InspectContainer { container: "bad".into(), missing_ok: true }).await.unwrap_err(),
            local.ask(ListContainers::default()).await.unwrap_err(),
            local.ask(run("third")).await.unwrap_err(),
        ] {
            assert!(error.message.contains(file.to_str().unwrap()), "{error}");
            assert_eq!(error.kind, ErrorKind::Failed);
        }
        assert!(local.inspect("good").await.is_running());
    }
    fs::write(&file, text).unwrap();
    assert!(local.inspect("bad").await.is_running());
    let state = local.container_folder("bad").join("state.json");
    let kept = fs::read(&state).unwrap();
    fs::write(&state, "{").unwrap();
    let error = local.ask(InspectContainer { container: "bad".into(), missing_ok: false }).await.unwrap_err();
    assert!(error.message.contains("state.json"), "{error}");
    fs::write(&state, kept).unwrap();
}

#[tokio::test]
async fn only_the_objects_of_the_run_are_removed() {
    let local = LocalFixture::with_empty_image().await;
    local.ask(RunContainer(spec(json!({"name": "web", "image": "empty", "command": ["sleep", "600"]})))).await.unwrap();
    let undo = json!({"container": "web", "force": true, "only_own": true, "missing_ok": true});
    let undo: RemoveContainer = serde_json::from_value(undo).unwrap();
    let other = local.another_run();
    assert!(!other.ask(undo.clone()).await.unwrap().removed);
    assert!(local.inspect("web").await.is_running());
    let running = RemoveContainer { force: false, ..undo.clone() };
    assert_eq!(local.ask(running).await.unwrap_err().kind, ErrorKind::Conflict);
    let network: Network = local
        .ask(CreateNetwork { name: "net".into(), driver: "bridge".into(), internal: false, labels: [].into() })
        .await
        .unwrap();
    assert!(network.created);
    let join = ConnectNetwork { network: "net".into(), container: "web".into(), aliases: vec![], disconnect: false };
    local.ask(join.clone()).await.unwrap();
    assert!(local.inspect("web").await.networks.contains_key("net"));
    let remove = |only_own| RemoveNetwork { name: "net".into(), missing_ok: true, disposable: false, only_own };
    assert!(!other.ask(remove(true)).await.unwrap().removed);
    assert_eq!(local.ask(remove(false)).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(local.ask(undo.clone()).await.unwrap().removed);
    assert!(!local.ask(undo).await.unwrap().removed);
    assert!(local.ask(remove(true)).await.unwrap().removed);
    let error = local.ask(join).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_lock_is_exclusive_and_taken_over_from_a_dead_process() {
    let local = LocalFixture::new();
    let ask = |wait| AcquireLock { service: "shop".into(), wait: DurationText::millis(wait) };
    let release = ReleaseLock { service: "shop".into() };
    let dead = ProcessIdentity { pid: u32::MAX, ..ProcessIdentity::this_process().unwrap() };
    let killed = LocalFixture::in_folder(local.folder.clone(), "000000dead", dead);
    let first = killed.ask(ask(0)).await.unwrap();
    assert_eq!(first.taken_over_from, None);
    let second = local.ask(ask(0)).await.unwrap();
    assert_eq!(second.taken_over_from, Some(killed.call.run.clone()));
    assert!(second.epoch > first.epoch, "{second:?} after {first:?}");
    assert_eq!(local.ask(ask(0)).await.unwrap(), Locked { taken_over_from: None, epoch: second.epoch });
    let other = local.another_run();
    let error = other.ask(ask(20)).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Locked, Applied::No));
    assert!(error.message.starts_with("`shop` is locked by run `0000000001`, process "), "{error}");
    other.ask(release.clone()).await.unwrap();
    assert!(other.ask(ask(0)).await.is_err());
    let waiter = tokio::spawn(async move { other.ask(ask(10_000)).await });
    tokio::task::yield_now().await;
    local.ask(release).await.unwrap();
    waiter.await.unwrap().unwrap();
}

#[tokio::test]
async fn pulls_and_unsupported_options_are_refused() {
    let local = LocalFixture::with_empty_image().await;
    let pull = serde_json::from_value::<PullImage>(json!({"image": "nginx"})).unwrap();
    let error = local.ask(pull).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Unsupported, Applied::No));
    for (extra, kind) in [
        (json!({"user": "unknown-user"}), ErrorKind::Unsupported),
        (json!({"stop_signal": "SIGTREM"}), ErrorKind::Invalid),
        (json!({"volumes": ["a:/x", "b:/x/y"]}), ErrorKind::Unsupported),
        (json!({"networks": ["nowhere"]}), ErrorKind::NotFound),
        (json!({}), ErrorKind::Invalid),
    ] {
        let mut request = json!({"name": "x", "image": "empty"});
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = local.ask(RunContainer(spec(request))).await.unwrap_err();
        assert_eq!((error.kind, error.applied), (kind, Applied::No), "{extra}: {error}");
    }
    assert!(local.list_all().await.is_empty());
}
