//! Errors of container requests, which must leave nothing behind.

use std::net::TcpListener;

use deployer::effect::ErrorKind;
use deployer::effect::container::{
    CreateContainer, InspectContainer, RenameContainer, RunContainer, StartContainer, StopContainer,
};
use serde_json::json;

use super::bench::{Bench, IMAGE, free_port, refused, unchanged};

#[tokio::test]
async fn a_port_conflict_names_the_other_container() {
    let bench = Bench::new().await;
    let port = free_port();
    let request = |name: &str| json!({"name": bench.name(name), "image": IMAGE, "command": ["sleep", "1000"], "ports": [format!("{port}:5000")]});
    bench.json::<RunContainer>(request("first")).await.unwrap();
    let error = refused(bench.json::<RunContainer>(request("second")).await, ErrorKind::PortTaken);
    unchanged(&error);
    assert!(error.message.contains(&format!("port {port} is taken by container `{}`", bench.name("first"))), "{error}");
    assert!(bench.look("second").await.is_none(), "the container that cannot start is removed");

    let created = bench.json::<CreateContainer>(request("third")).await.unwrap();
    assert_eq!(created.ports[0].host_port, port);
    let error =
        refused(bench.json::<StartContainer>(json!({"container": bench.name("third")})).await, ErrorKind::PortTaken);
    unchanged(&error);
    assert!(bench.look("third").await.is_some(), "this request did not create the container, so it stays");
}

#[tokio::test]
async fn a_port_conflict_with_another_process_is_reported() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let request =
        json!({"name": bench.name("web"), "image": IMAGE, "command": ["sleep", "9"], "ports": [format!("{port}:80")]});
    let error = refused(bench.json::<RunContainer>(request).await, ErrorKind::PortTaken);
    unchanged(&error);
    assert!(error.message.starts_with(&format!("port {port} is taken, so")), "{error}");
}

#[tokio::test]
async fn names_in_use_and_missing_objects() {
    let bench = Bench::new().await;
    bench.shell("web", "sleep 1000").await;
    bench.shell("other", "sleep 1000").await;
    let request = |name: &str, image: &str| json!({"name": bench.name(name), "image": image});
    let error = refused(bench.json::<RunContainer>(request("web", IMAGE)).await, ErrorKind::NameTaken);
    unchanged(&error);
    assert!(error.message.contains(&bench.name("web")));
    let rename = json!({"container": bench.name("other"), "name": bench.name("web")});
    unchanged(&refused(bench.json::<RenameContainer>(rename).await, ErrorKind::NameTaken));

    let error = refused(bench.json::<RunContainer>(request("new", "deployer-no-such:1")).await, ErrorKind::NotFound);
    unchanged(&error);
    assert_eq!(error.message, "image `deployer-no-such:1` does not exist on this engine");
    assert!(error.hint.unwrap().contains("`docker_pull(\"deployer-no-such:1\")`"));

    for name in ["deployer-missing", "x/../y"] {
        let kind = if name.contains('/') { ErrorKind::Invalid } else { ErrorKind::NotFound };
        let request = json!({"container": name});
        unchanged(&refused(bench.json::<InspectContainer>(request.clone()).await, kind));
        unchanged(&refused(bench.json::<StopContainer>(request.clone()).await, kind));
        unchanged(&refused(bench.json::<StartContainer>(request).await, kind));
    }
}

#[tokio::test]
async fn a_container_that_cannot_start_is_removed() {
    let bench = Bench::new().await;
    let request = json!({"name": bench.name("bad"), "image": IMAGE, "command": ["/no/such/program"]});
    let error = refused(bench.json::<RunContainer>(request).await, ErrorKind::Invalid);
    unchanged(&error);
    assert!(error.message.contains("/no/such/program"), "{error}");
    let request = json!({"name": bench.name("bad"), "image": IMAGE, "networks": ["deployer-no-such-network"]});
    let error = refused(bench.json::<RunContainer>(request).await, ErrorKind::NotFound);
    assert!(error.message.contains("deployer-no-such-network"), "{error}");
    let request =
        json!({"name": bench.name("bad"), "image": IMAGE, "networks": ["bridge", "deployer-no-such-network"]});
    unchanged(&refused(bench.json::<RunContainer>(request).await, ErrorKind::NotFound));
    assert!(bench.look("bad").await.is_none());

    let secret =
        json!({"name": bench.name("bad"), "image": IMAGE, "environment": {"A": {"secret_text": [{"secret": "GONE"}]}}});
    unchanged(&refused(bench.json::<RunContainer>(secret).await, ErrorKind::MissingSecret));
}
