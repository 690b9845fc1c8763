//! Images: build, tag, list, remove, load.

use std::fs;
use std::path::Path;

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{ReadLogs, RunContainer, WaitContainer};
use deployer::effect::image::{BuildImage, ListImages, LoadImage, RemoveImage, TagImage};
use serde_json::{Value, json};

use super::bench::{Bench, IMAGE, docker, refused, unchanged};

fn context(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn build(bench: &Bench, folder: &Path, name: &str, more: Value) -> Value {
    let mut request = json!({"context": folder, "tag": bench.name(name)});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

#[tokio::test]
async fn a_build_skips_ignored_files() {
    let bench = Bench::new().await;
    let dockerfile = format!(
        "FROM {IMAGE}\nARG WHO\nCOPY . /app\nRUN echo hello $WHO\nCMD [\"find\", \"/app\", \"-type\", \"f\"]\n"
    );
    let folder = context(&[
        ("docker/Dockerfile", &dockerfile),
        (".dockerignore", "**/*.log\nnode_modules\n!keep.log\ndocker\n.dockerignore\n"),
        ("app.py", "x"),
        ("keep.log", "x"),
        ("a/b/drop.log", "x"),
        ("node_modules/x.js", "x"),
    ]);
    let request = json!({
        "dockerfile": "docker/Dockerfile", "args": {"WHO": {"secret_text": ["wor", {"secret": "TOKEN"}]}}, "labels": {"mine": "yes"},
    });
    let image = bench.json::<BuildImage>(build(&bench, folder.path(), "web:v1", request)).await.unwrap();
    assert_eq!(image.tags, [bench.name("web:v1")]);
    assert_eq!(image.labels["mine"], "yes");
    assert_eq!(image.labels[labels::RUN], bench.call.run.as_str());
    assert!(image.size > 0 && image.created_at.is_some());
    let progress = bench.progress.lock().unwrap().clone();
    assert!(progress[0].text.starts_with("sending "), "{:?}", progress[0]);
    let step = progress.iter().find(|step| step.text.starts_with("Step 3/")).expect("the build reports its steps");
    assert!(step.fraction.is_some_and(|fraction| fraction > 0.1 && fraction < 0.9), "{step:?}");
    assert!(progress.iter().any(|step| step.text.starts_with("hello wor")));

    bench.json::<RunContainer>(json!({"name": bench.name("find"), "image": bench.name("web:v1")})).await.unwrap();
    bench.json::<WaitContainer>(json!({"container": bench.name("find")})).await.unwrap();
    let mut files = bench.json::<ReadLogs>(json!({"container": bench.name("find")})).await.unwrap().lines;
    files.sort();
    assert_eq!(files, ["/app/app.py", "/app/keep.log"]);
}

#[tokio::test]
async fn a_failed_build_shows_its_last_lines() {
    let bench = Bench::new().await;
    let dockerfile = format!("FROM {IMAGE}\nRUN for i in $(seq 1 60); do echo line $i; done; exit 9\n");
    let folder = context(&[("Dockerfile", &dockerfile)]);
    let error =
        refused(bench.json::<BuildImage>(build(&bench, folder.path(), "bad", json!({}))).await, ErrorKind::Failed);
    assert!(error.message.starts_with(&format!("building image `{}:latest` failed", bench.name("bad"))), "{error}");
    assert!(error.message.contains("code: 9"), "{error}");
    let detail = error.detail.unwrap();
    assert!(detail.contains("line 60") && !detail.contains("line 1\n") && detail.lines().count() <= 40, "{detail}");

    fs::write(folder.path().join("Dockerfile"), "FROM scratch\nFLY away\n").unwrap();
    let error =
        refused(bench.json::<BuildImage>(build(&bench, folder.path(), "bad", json!({}))).await, ErrorKind::Failed);
    assert!(error.message.contains("FLY"), "{error}");

    let request = build(&bench, folder.path(), "bad", json!({"dockerfile": "Containerfile"}));
    let error = refused(bench.json::<BuildImage>(request).await, ErrorKind::NotFound);
    unchanged(&error);
    assert!(error.message.contains("`Containerfile`"), "{error}");
    let slow = format!("FROM {IMAGE}\nRUN sleep 100\n");
    fs::write(folder.path().join("Dockerfile"), slow).unwrap();
    let request = build(&bench, folder.path(), "bad", json!({"timeout": "2s", "no_cache": true}));
    refused(bench.json::<BuildImage>(request).await, ErrorKind::Timeout);
}

#[tokio::test]
async fn tags_are_added_listed_and_removed() {
    let bench = Bench::new().await;
    for version in ["1", "2"] {
        let folder = context(&[("Dockerfile", &format!("FROM {IMAGE}\nLABEL version={version}\n"))]);
        let name = format!("web:v{version}");
        bench.json::<BuildImage>(build(&bench, folder.path(), &name, json!({"no_cache": true}))).await.unwrap();
    }
    let tags = async |request: Value| -> Vec<String> {
        let images = bench.json::<ListImages>(request).await.unwrap();
        images.into_iter().flat_map(|image| image.tags).collect()
    };
    let (v1, v2, rollback) = (bench.name("web:v1"), bench.name("web:v2"), bench.name("web:rollback"));
    assert_eq!(tags(json!({"name": bench.name("web")})).await, [v2.clone(), v1.clone()], "newest first");
    assert_eq!(tags(json!({"name": v1})).await, std::slice::from_ref(&v1));
    let id = bench.json::<ListImages>(json!({"name": v1})).await.unwrap()[0].id.clone();
    assert_eq!(tags(json!({"name": id})).await, std::slice::from_ref(&v1));
    assert_eq!(tags(json!({"name": bench.name("web"), "labels": {"version": "2"}})).await, std::slice::from_ref(&v2));
    assert!(tags(json!({"name": bench.name("we")})).await.is_empty());
    assert!(tags(json!({})).await.contains(&v1));

    bench.json::<TagImage>(json!({"image": v1, "tag": rollback})).await.unwrap();
    assert_eq!(tags(json!({"name": rollback})).await.len(), 2);
    bench.json::<TagImage>(json!({"image": v2, "tag": rollback})).await.unwrap();
    assert_eq!(tags(json!({"name": v1})).await, std::slice::from_ref(&v1), "the tag moved");
    unchanged(&refused(
        bench.json::<TagImage>(json!({"image": "deployer-no:1", "tag": rollback})).await,
        ErrorKind::NotFound,
    ));

    assert!(bench.json::<RemoveImage>(json!({"image": rollback})).await.unwrap().removed);
    assert!(!bench.json::<RemoveImage>(json!({"image": rollback, "missing_ok": true})).await.unwrap().removed);
    refused(bench.json::<RemoveImage>(json!({"image": rollback})).await, ErrorKind::NotFound);
    bench
        .json::<RunContainer>(json!({"name": bench.name("user"), "image": v1, "command": ["sleep", "1000"]}))
        .await
        .unwrap();
    unchanged(&refused(bench.json::<RemoveImage>(json!({"image": v1})).await, ErrorKind::Conflict));
}

#[tokio::test]
async fn loads_an_archive_of_docker_save() {
    let bench = Bench::new().await;
    let folder = context(&[("Dockerfile", &format!("FROM {IMAGE}\nLABEL a=b\n")), ("no.tar", "not an archive")]);
    let name = bench.name("web:v1");
    let built = bench.json::<BuildImage>(build(&bench, folder.path(), "web:v1", json!({}))).await.unwrap();
    let file = folder.path().join("web.tar");
    docker(&["save", "--output", file.to_str().unwrap(), &name]);
    bench.json::<RemoveImage>(json!({"image": name})).await.unwrap();
    let loaded = bench.json::<LoadImage>(json!({"file": file})).await.unwrap();
    assert_eq!((loaded.len(), &loaded[0].id, &loaded[0].tags), (1, &built.id, &vec![name]));

    let error =
        refused(bench.json::<LoadImage>(json!({"file": folder.path().join("no.tar")})).await, ErrorKind::Invalid);
    assert!(error.message.contains("is not an image archive"), "{error}");
    let missing = json!({"file": folder.path().join("none.tar")});
    unchanged(&refused(bench.json::<LoadImage>(missing).await, ErrorKind::NotFound));
}
