//! Objects in a folder and on an S3 server.

use std::path::Path;

use deployer::effect::ErrorKind;
use serde_json::{Value, json};

use super::{Fixture, SECRET};
use crate::support::s3_server::{BUCKET, Fault, S3Server};
use crate::support::until;

/// Bytes that differ by position, so that parts in the wrong order are detected.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at / 4096 + at % 251) as u8).collect()
}

fn file(folder: &Path, name: &str, count: usize) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes(count)).unwrap();
    path.display().to_string()
}

/// A storage of each kind: the URL prefix and the access options.
fn storages(server: &S3Server, folder: &Path) -> [(String, Value); 2] {
    std::fs::create_dir_all(folder.join("store/sub")).unwrap();
    [(format!("file://{}/store", folder.display()), json!({})), (format!("s3://{BUCKET}"), server.access())]
}

#[tokio::test]
async fn both_kinds_of_storage_behave_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let fixture = Fixture::new();
    let small = file(folder.path(), "small.txt", 1000);
    for (number, (url, s3)) in storages(&server, folder.path()).into_iter().enumerate() {
        let ask = async |kind: &str, mut args: Value| {
            args["s3"] = s3.clone();
            fixture.ask(kind, args).await
        };
        let put = ask("object_put", json!({"path": small, "to": format!("{url}/")})).await.unwrap();
        assert_eq!((put["url"].as_str().unwrap(), &put["size"]), (format!("{url}/small.txt").as_str(), &json!(1000)));
        let again = ask("object_put", json!({"path": small, "to": format!("{url}/small.txt")})).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::NameTaken);
        let over = json!({"path": small, "to": format!("{url}/small.txt"), "overwrite": true});
        ask("object_put", over).await.unwrap();
        ask("object_put", json!({"path": small, "to": format!("{url}/sub/other name+ä.txt")})).await.unwrap();

        let listed = ask("object_list", json!({"prefix": format!("{url}/")})).await.unwrap();
        let urls: Vec<&str> = listed.as_array().unwrap().iter().map(|object| object["url"].as_str().unwrap()).collect();
        assert_eq!(urls, [format!("{url}/small.txt"), format!("{url}/sub/other name+ä.txt")]);
        assert_eq!(listed[0]["size"], 1000);
        let part = ask("object_list", json!({"prefix": format!("{url}/sub/oth"), "limit": 5})).await.unwrap();
        assert_eq!(part.as_array().unwrap().len(), 1);
        assert_eq!(ask("object_list", json!({"prefix": format!("{url}/none/")})).await.unwrap(), json!([]));

        let to = folder.path().join(format!("fetched-{number}"));
        let get = json!({"url": format!("{url}/sub/other name+ä.txt"), "path": to});
        let fetched = ask("object_get", get.clone()).await.unwrap();
        assert_eq!((&fetched["sha256"], std::fs::read(&to).unwrap()), (&put["sha256"], bytes(1000)));
        assert_eq!(ask("object_get", get).await.unwrap_err().kind, ErrorKind::NameTaken);
        let gone = json!({"url": format!("{url}/none"), "path": folder.path().join("none")});
        assert_eq!(ask("object_get", gone).await.unwrap_err().kind, ErrorKind::NotFound);
        let no_file = json!({"path": folder.path().join("none"), "to": format!("{url}/none")});
        assert_eq!(ask("object_put", no_file).await.unwrap_err().kind, ErrorKind::NotFound);

        let delete = json!({"url": format!("{url}/small.txt")});
        assert_eq!(ask("object_delete", delete.clone()).await.unwrap(), json!({"removed": true}));
        assert_eq!(ask("object_delete", delete.clone()).await.unwrap_err().kind, ErrorKind::NotFound);
        let mut ok = delete;
        ok["missing_ok"] = json!(true);
        assert_eq!(ask("object_delete", ok).await.unwrap(), json!({"removed": false}));
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path().join("store")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["sub"], "no temporary file is left");
}

#[tokio::test]
async fn old_objects_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let fixture = Fixture::new();
    let small = file(folder.path(), "small", 10);
    for (url, s3) in storages(&server, folder.path()) {
        for name in ["app-1", "app-2", "app-3", "other", "sub/app-0"] {
            let put = json!({"path": small, "to": format!("{url}/{name}"), "s3": s3});
            fixture.ask("object_put", put).await.unwrap();
            // The clock of the storage decides which object is older, so the next one must be stored later.
            let start = std::time::Instant::now();
            until("a later time", || (start.elapsed().as_millis() > 10).then_some(()));
        }
        let prune = json!({"prefix": format!("{url}/app-"), "keep": 1, "older_than": "1h", "s3": s3});
        let none = fixture.ask("object_prune", prune).await.unwrap();
        assert_eq!(none, json!({"deleted": [], "kept": 3}));
        let prune = json!({"prefix": format!("{url}/app-"), "keep": 1, "s3": s3});
        let pruned = fixture.ask("object_prune", prune).await.unwrap();
        let oldest = json!([format!("{url}/app-1"), format!("{url}/app-2")]);
        assert_eq!(pruned, json!({"deleted": oldest, "kept": 1}));
        let left = fixture.ask("object_list", json!({"prefix": format!("{url}/"), "s3": s3})).await.unwrap();
        assert_eq!(left.as_array().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_large_object_is_transferred_in_parts_despite_faults() {
    const SIZE: usize = 20 << 20;
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let mut fixture = Fixture::new();
    let progress = fixture.record_progress();
    let large = file(folder.path(), "large", SIZE);
    let url = format!("s3://{BUCKET}/large");
    server.fail("PUT", [Fault::Error, Fault::Cut, Fault::Error]);
    server.fail("POST", [Fault::Error]);
    let put = json!({"path": large, "to": url, "s3": server.access()});
    fixture.ask("object_put", put).await.unwrap();
    assert_eq!(server.object("large").unwrap(), bytes(SIZE));
    assert_eq!(server.asked("PUT /backups/large?partNumber"), 3 + 3, "three parts, and three tries that failed");
    assert!(progress.lock().unwrap().iter().any(|text| text == "20 of 20 MB"));
    server.fail("GET", [Fault::Cut, Fault::Error]);
    let to = folder.path().join("back");
    let get = json!({"url": url, "path": to, "s3": server.access()});
    fixture.ask("object_get", get.clone()).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), bytes(SIZE));
    server.damage("large");
    std::fs::remove_file(&to).unwrap();
    let error = fixture.refused("object_get", get).await;
    assert!(error.message.contains("checksum"), "{error}");
    assert!(!to.exists());
}

#[tokio::test]
async fn credentials_are_required_and_not_revealed() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let fixture = Fixture::new();
    let small = file(folder.path(), "small", 10);
    let put = |s3: Value| json!({"path": small, "to": format!("s3://{BUCKET}/small"), "s3": s3});
    let with = |key: &str, value: Value| {
        let mut s3 = server.access();
        s3[key] = value;
        s3
    };
    let token = json!({"secret_text": [{"secret": "TOKEN"}]});
    for s3 in [with("access_key", json!("unknown")), with("secret_key", json!("wrong")), with("secret_key", token)] {
        let error = fixture.refused("object_put", put(s3)).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
    let unset = with("secret_key", json!({"secret_text": [{"secret": "UNSET"}]}));
    assert_eq!(fixture.refused("object_put", put(unset)).await.kind, ErrorKind::MissingSecret);
    let without_secret_key = json!({"endpoint": format!("http://{}", server.address), "access_key": "a"});
    assert_eq!(fixture.refused("object_put", put(without_secret_key)).await.kind, ErrorKind::Invalid);
    let none = json!({"endpoint": format!("http://{}", server.address)});
    let error = fixture.refused("object_put", put(none)).await;
    assert!(error.kind == ErrorKind::Refused && error.hint.unwrap().contains("AWS_ACCESS_KEY_ID"));
    let bucket = json!({"path": small, "to": "s3://nowhere/small", "s3": server.access()});
    assert_eq!(fixture.refused("object_put", bucket).await.kind, ErrorKind::NotFound);
    let text = json!({"path": small, "to": format!("s3://{BUCKET}/small"), "s3": with("endpoint", json!("nonsense"))});
    assert_eq!(fixture.refused("object_put", text).await.kind, ErrorKind::Invalid);
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn a_failed_upload_is_abandoned_and_leaves_no_parts() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let fixture = Fixture::new();
    let large = file(folder.path(), "large", 9 << 20);
    let put = json!({"path": large, "to": format!("s3://{BUCKET}/large"), "s3": server.access()});
    // The connection is cut more often than the upload is retried.
    server.fail("PUT", vec![Fault::Cut; 60]);
    let error = fixture.refused("object_put", put.clone()).await;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert_eq!(server.open_uploads(), 0, "the uploaded parts are removed");
    let full = S3Server::start();
    full.fill_up();
    let mut put = put;
    put["s3"] = full.access();
    put["to"] = json!(format!("s3://{BUCKET}/full"));
    let error = fixture.refused("object_put", put).await;
    assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Failed), "{error:?}");
    assert!(error.detail.unwrap_or_default().contains("InsufficientStorage") || error.message.contains("507"));
    assert!(server.keys().is_empty() && full.keys().is_empty());
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    let small = file(folder.path(), "small", 10);
    let s3 = json!({"endpoint": "http://127.0.0.1:1", "access_key": "a", "secret_key": "b"});
    let put = json!({"path": small, "to": format!("s3://{BUCKET}/x"), "s3": s3, "timeout": "30s"});
    let error = fixture.refused("object_put", put).await;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert!(error.message.contains("connection refused"), "{error}");
}

#[tokio::test]
async fn the_environment_provides_the_credentials() {
    use std::sync::Arc;

    use deployer::world::clock::SystemClock;
    use deployer::world::services::Services;

    use crate::support::s3_server::{ACCESS_KEY, REGION, SECRET_KEY};

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
        let fixture = Fixture::new();
        let services = Services::new(fixture.engine.clone(), Arc::new(SystemClock::default()), Arc::new(env));
        let fixture = Fixture { services, ..fixture };
        let put = json!({"path": small, "to": format!("s3://{BUCKET}/{name}")});
        fixture.ask("object_put", put).await.unwrap();
    }
    assert_eq!(server.keys(), ["profile", "variables"]);
}

#[tokio::test]
async fn a_container_is_archived_with_all_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start();
    let fixture = Fixture::new();
    fixture.engine.add_container("web", None);
    fixture.engine.log("web", (0..20_000).map(|line| format!("line {line}")));
    for (url, s3) in storages(&server, folder.path()) {
        let archive = json!({"container": "web", "to": format!("{url}/"), "s3": s3});
        let archived = fixture.ask("container_archive", archive.clone()).await.unwrap();
        let again = fixture.ask("container_archive", archive).await.unwrap();
        assert_eq!(archived, again, "after a crash, the same effect writes the same archive");
        let fetch = async |url: &Value| {
            let to = folder.path().join("fetched");
            let get = json!({"url": url, "path": to, "s3": s3, "overwrite": true});
            fixture.ask("object_get", get).await.unwrap();
            std::fs::read_to_string(to).unwrap()
        };
        assert_eq!(fetch(&archived["url"]).await.lines().count(), 20_000);
        let facts: Value = serde_json::from_str(&fetch(&archived["facts"]).await).unwrap();
        assert_eq!((&facts["container"]["name"], &facts["stats"]["processes"]), (&json!("web"), &json!(1)));
    }
}
