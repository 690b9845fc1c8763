//! Objects in a folder and on an S3 server.

use std::path::Path;

use deployer::effect::ErrorKind;
use serde_json::{Value, json};

use super::support::s3_server::{BUCKET, Fault, S3Server};
use super::support::until;
use super::{Bench, SECRET};

/// Not the same byte everywhere, so that parts in the wrong order would show.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at / 4096 + at % 251) as u8).collect()
}

fn file(folder: &Path, name: &str, count: usize) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes(count)).unwrap();
    path.display().to_string()
}

/// A place of each kind, as the beginning of addresses, with the access that it needs.
fn places(server: &S3Server, folder: &Path) -> [(String, Value); 2] {
    std::fs::create_dir_all(folder.join("store/sub")).unwrap();
    [(format!("file://{}/store", folder.display()), json!({})), (format!("s3://{BUCKET}"), server.access())]
}

#[tokio::test]
async fn both_kinds_of_storage_do_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let bench = Bench::new();
    let small = file(folder.path(), "small.txt", 1000);
    for (number, (place, s3)) in places(&server, folder.path()).into_iter().enumerate() {
        let ask = async |kind: &str, mut args: Value| {
            args["s3"] = s3.clone();
            bench.ask(kind, args).await
        };
        let put = ask("object_put", json!({"path": small, "to": format!("{place}/")})).await.unwrap();
        assert_eq!((put["url"].as_str().unwrap(), &put["size"]), (format!("{place}/small.txt").as_str(), &json!(1000)));
        let again = ask("object_put", json!({"path": small, "to": format!("{place}/small.txt")})).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::NameTaken);
        let over = json!({"path": small, "to": format!("{place}/small.txt"), "overwrite": true});
        ask("object_put", over).await.unwrap();
        ask("object_put", json!({"path": small, "to": format!("{place}/sub/other name+ä.txt")})).await.unwrap();

        let listed = ask("object_list", json!({"prefix": format!("{place}/")})).await.unwrap();
        let urls: Vec<&str> = listed.as_array().unwrap().iter().map(|object| object["url"].as_str().unwrap()).collect();
        assert_eq!(urls, [format!("{place}/small.txt"), format!("{place}/sub/other name+ä.txt")]);
        assert_eq!(listed[0]["size"], 1000);
        let part = ask("object_list", json!({"prefix": format!("{place}/sub/oth"), "limit": 5})).await.unwrap();
        assert_eq!(part.as_array().unwrap().len(), 1);
        assert_eq!(ask("object_list", json!({"prefix": format!("{place}/none/")})).await.unwrap(), json!([]));

        let to = folder.path().join(format!("fetched-{number}"));
        let get = json!({"url": format!("{place}/sub/other name+ä.txt"), "path": to});
        let got = ask("object_get", get.clone()).await.unwrap();
        assert_eq!((&got["sha256"], std::fs::read(&to).unwrap()), (&put["sha256"], bytes(1000)));
        assert_eq!(ask("object_get", get).await.unwrap_err().kind, ErrorKind::NameTaken);
        let gone = json!({"url": format!("{place}/none"), "path": folder.path().join("none")});
        assert_eq!(ask("object_get", gone).await.unwrap_err().kind, ErrorKind::NotFound);
        let no_file = json!({"path": folder.path().join("none"), "to": format!("{place}/none")});
        assert_eq!(ask("object_put", no_file).await.unwrap_err().kind, ErrorKind::NotFound);

        let delete = json!({"url": format!("{place}/small.txt")});
        assert_eq!(ask("object_delete", delete.clone()).await.unwrap(), json!({"removed": true}));
        assert_eq!(ask("object_delete", delete.clone()).await.unwrap_err().kind, ErrorKind::NotFound);
        let mut ok = delete;
        ok["missing_ok"] = json!(true);
        assert_eq!(ask("object_delete", ok).await.unwrap(), json!({"removed": false}));
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path().join("store")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["sub"], "no draft is left");
}

#[tokio::test]
async fn old_ones_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let bench = Bench::new();
    let small = file(folder.path(), "small", 10);
    for (place, s3) in places(&server, folder.path()) {
        for name in ["app-1", "app-2", "app-3", "other", "sub/app-0"] {
            let put = json!({"path": small, "to": format!("{place}/{name}"), "s3": s3});
            bench.ask("object_put", put).await.unwrap();
            // The storage's own clock tells which is older: the next one is stored in another instant.
            let start = std::time::Instant::now();
            until("the next instant", || (start.elapsed().as_millis() > 10).then_some(()));
        }
        let prune = json!({"prefix": format!("{place}/app-"), "keep": 1, "older_than": "1h", "s3": s3});
        let none = bench.ask("object_prune", prune).await.unwrap();
        assert_eq!(none, json!({"deleted": [], "kept": 3}));
        let prune = json!({"prefix": format!("{place}/app-"), "keep": 1, "s3": s3});
        let pruned = bench.ask("object_prune", prune).await.unwrap();
        let oldest = json!([format!("{place}/app-1"), format!("{place}/app-2")]);
        assert_eq!(pruned, json!({"deleted": oldest, "kept": 1}));
        let left = bench.ask("object_list", json!({"prefix": format!("{place}/"), "s3": s3})).await.unwrap();
        assert_eq!(left.as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_large_object_travels_in_parts_through_faults() {
    const SIZE: usize = 20 << 20;
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let mut bench = Bench::new();
    let heard = bench.hearing();
    let large = file(folder.path(), "large", SIZE);
    let url = format!("s3://{BUCKET}/large");
    server.fail("PUT", [Fault::Error, Fault::Cut, Fault::Error]);
    server.fail("POST", [Fault::Error]);
    let put = json!({"path": large, "to": url, "s3": server.access()});
    bench.ask("object_put", put).await.unwrap();
    assert_eq!(server.object("large").unwrap(), bytes(SIZE));
    assert_eq!(server.asked("PUT /backups/large?partNumber"), 3 + 3, "three parts, and three tries that failed");
    assert!(heard.lock().unwrap().iter().any(|text| text == "20 of 20 MB"));
    server.fail("GET", [Fault::Cut, Fault::Error]);
    let to = folder.path().join("back");
    let get = json!({"url": url, "path": to, "s3": server.access()});
    bench.ask("object_get", get.clone()).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), bytes(SIZE));
    server.damage("large");
    std::fs::remove_file(&to).unwrap();
    let error = bench.refused("object_get", get).await;
    assert!(error.message.contains("checksum"), "{error}");
    assert!(!to.exists());
}

#[tokio::test]
async fn credentials_are_needed_and_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let bench = Bench::new();
    let small = file(folder.path(), "small", 10);
    let put = |s3: Value| json!({"path": small, "to": format!("s3://{BUCKET}/small"), "s3": s3});
    let with = |key: &str, value: Value| {
        let mut s3 = server.access();
        s3[key] = value;
        s3
    };
    let token = json!({"secret_text": [{"secret": "TOKEN"}]});
    for s3 in [with("access_key", json!("nobody")), with("secret_key", json!("wrong")), with("secret_key", token)] {
        let error = bench.refused("object_put", put(s3)).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
    let unset = with("secret_key", json!({"secret_text": [{"secret": "UNSET"}]}));
    assert_eq!(bench.refused("object_put", put(unset)).await.kind, ErrorKind::MissingSecret);
    let half = json!({"endpoint": format!("http://{}", server.address), "access_key": "a"});
    assert_eq!(bench.refused("object_put", put(half)).await.kind, ErrorKind::Invalid);
    let none = json!({"endpoint": format!("http://{}", server.address)});
    let error = bench.refused("object_put", put(none)).await;
    assert!(error.kind == ErrorKind::Refused && error.hint.unwrap().contains("AWS_ACCESS_KEY_ID"));
    let bucket = json!({"path": small, "to": "s3://nowhere/small", "s3": server.access()});
    assert_eq!(bench.refused("object_put", bucket).await.kind, ErrorKind::NotFound);
    let text = json!({"path": small, "to": format!("s3://{BUCKET}/small"), "s3": with("endpoint", json!("nonsense"))});
    assert_eq!(bench.refused("object_put", text).await.kind, ErrorKind::Invalid);
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn storage_without_room_is_given_up_on_and_leaves_no_parts() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let bench = Bench::new();
    let large = file(folder.path(), "large", 9 << 20);
    let put = json!({"path": large, "to": format!("s3://{BUCKET}/large"), "s3": server.access()});
    // The first part passes, then the connection is cut more often than anybody tries.
    server.fail("PUT", vec![Fault::Cut; 60]);
    let error = bench.refused("object_put", put.clone()).await;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert_eq!(server.open_uploads(), 0, "the parts are taken away");
    let full = S3Server::start();
    full.fill_up();
    let mut put = put;
    put["s3"] = full.access();
    put["to"] = json!(format!("s3://{BUCKET}/full"));
    let error = bench.refused("object_put", put).await;
    assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Failed), "{error:?}");
    assert!(error.detail.unwrap_or_default().contains("InsufficientStorage") || error.message.contains("507"));
    assert!(server.keys().is_empty() && full.keys().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    let small = file(folder.path(), "small", 10);
    let s3 = json!({"endpoint": "http://127.0.0.1:1", "access_key": "a", "secret_key": "b"});
    let put = json!({"path": small, "to": format!("s3://{BUCKET}/x"), "s3": s3, "timeout": "30s"});
    let error = bench.refused("object_put", put).await;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert!(error.message.contains("connection refused"), "{error}");
}

#[tokio::test]
async fn the_environment_has_the_credentials() {
    use std::sync::Arc;

    use deployer::world::clock::SystemClock;
    use deployer::world::services::Services;

    use super::support::s3_server::{ACCESS_KEY, REGION, SECRET_KEY};

    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let small = file(folder.path(), "small", 10);
    let endpoint = format!("http://{}", server.address);
    let credentials = folder.path().join("credentials");
    let keys = format!("aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    std::fs::write(&credentials, format!("[default]\naws_access_key_id = no\n[shop]\n{keys}")).unwrap();
    let by_variables = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let by_profile = [("AWS_PROFILE", "shop"), ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap())];
    for (name, variables) in [("variables", by_variables), ("profile", by_profile)] {
        let mut known: Vec<(String, String)> =
            variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        known.extend(
            [("AWS_ENDPOINT_URL_S3", endpoint.as_str()), ("AWS_REGION", REGION)].map(|(a, b)| (a.into(), b.into())),
        );
        let env = move |asked: &str| known.iter().find(|(key, _)| key == asked).map(|(_, value)| value.clone());
        let bench = Bench::new();
        let services = Services::new(bench.engine.clone(), Arc::new(SystemClock::default()), Arc::new(env));
        let bench = Bench { services, ..bench };
        let put = json!({"path": small, "to": format!("s3://{BUCKET}/{name}")});
        bench.ask("object_put", put).await.unwrap();
    }
    assert_eq!(server.keys(), ["profile", "variables"]);
}

#[tokio::test]
async fn a_container_is_archived_with_all_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let bench = Bench::new();
    bench.engine.place("web", None);
    bench.engine.log("web", (0..20_000).map(|line| format!("line {line}")));
    for (place, s3) in places(&server, folder.path()) {
        let archive = json!({"container": "web", "to": format!("{place}/"), "s3": s3});
        let archived = bench.ask("container_archive", archive.clone()).await.unwrap();
        let again = bench.ask("container_archive", archive).await.unwrap();
        assert_eq!(archived, again, "the same effect makes the same archive again after a crash");
        let fetch = async |url: &Value| {
            let to = folder.path().join("fetched");
            let get = json!({"url": url, "path": to, "s3": s3, "overwrite": true});
            bench.ask("object_get", get).await.unwrap();
            std::fs::read_to_string(to).unwrap()
        };
        assert_eq!(fetch(&archived["url"]).await.lines().count(), 20_000);
        let facts: Value = serde_json::from_str(&fetch(&archived["facts"]).await).unwrap();
        assert_eq!((&facts["container"]["name"], &facts["stats"]["processes"]), (&json!("web"), &json!(1)));
    }
}
