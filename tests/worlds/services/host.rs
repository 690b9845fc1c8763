use std::net::TcpListener;

use deployer::effect::ErrorKind;
use serde_json::json;

use super::Fixture;
use crate::support::fake_engine::FakeEngine;

#[tokio::test]
async fn memory_and_disk_are_measured() {
    let fixture = Fixture::new();
    let memory = fixture.ask("host_memory", json!({})).await.unwrap();
    assert_eq!(memory, json!({"total_mb": 2048, "available_mb": 1024}));
    let disk = fixture.ask("host_disk", json!({"path": "/tmp/not/there/yet"})).await.unwrap();
    let megabytes = |key: &str| disk[key].as_u64().unwrap();
    assert!(megabytes("total_mb") >= megabytes("available_mb") && megabytes("total_mb") > 0, "{disk}");
    let remote = Fixture::over(FakeEngine { is_elsewhere: true, ..FakeEngine::default() });
    assert_eq!(remote.refused("host_disk", json!({"path": "/"})).await.kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_port_is_free_without_a_listener_and_without_a_container() {
    let fixture = Fixture::new();
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = fixture.ask("port_free", json!({"port": port})).await.unwrap();
        assert_eq!(state, json!({"free": false, "container": null}), "{address}");
        drop(listener);
        let state = fixture.ask("port_free", json!({"port": port})).await.unwrap();
        assert_eq!(state["free"], true, "{address}");
        fixture.engine.publish_port(port, "web");
        let state = fixture.ask("port_free", json!({"port": port})).await.unwrap();
        assert_eq!(state, json!({"free": false, "container": "web"}));
    }
    assert_eq!(fixture.refused("port_free", json!({"port": 0})).await.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn environment_and_secrets() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ask("env", json!({"name": "HOME_TOWN"})).await.unwrap(), json!("Ulm"));
    assert_eq!(fixture.ask("env", json!({"name": "OTHER"})).await.unwrap(), json!(null));
    assert_eq!(fixture.ask("secret", json!({"name": "TOKEN"})).await.unwrap(), json!(null));
    assert_eq!(fixture.refused("secret", json!({"name": "OTHER"})).await.kind, ErrorKind::MissingSecret);
}
