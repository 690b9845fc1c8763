use std::net::TcpListener;

use deployer::effect::ErrorKind;
use serde_json::json;

use super::Bench;
use super::support::twin_engine::TwinEngine;

#[tokio::test]
async fn figures_of_the_machine() {
    let bench = Bench::new();
    let memory = bench.ask("host_memory", json!({})).await.unwrap();
    assert_eq!(memory, json!({"total_mb": 2048, "available_mb": 1024}));
    let disk = bench.ask("host_disk", json!({"path": "/tmp/not/there/yet"})).await.unwrap();
    let room = |key: &str| disk[key].as_u64().unwrap();
    assert!(room("total_mb") >= room("available_mb") && room("total_mb") > 0, "{disk}");
    let elsewhere = Bench::over(TwinEngine { is_elsewhere: true, ..TwinEngine::default() });
    assert_eq!(elsewhere.refused("host_disk", json!({"path": "/"})).await.kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_port_is_free_when_nobody_listens_and_no_container_has_it() {
    let bench = Bench::new();
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = bench.ask("port_free", json!({"port": port})).await.unwrap();
        assert_eq!(state, json!({"free": false, "container": null}), "{address}");
        drop(listener);
        let state = bench.ask("port_free", json!({"port": port})).await.unwrap();
        assert_eq!(state["free"], true, "{address}");
        bench.engine.hold(port, "web");
        let state = bench.ask("port_free", json!({"port": port})).await.unwrap();
        assert_eq!(state, json!({"free": false, "container": "web"}));
    }
    assert_eq!(bench.refused("port_free", json!({"port": 0})).await.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn the_environment_and_secrets() {
    let bench = Bench::new();
    assert_eq!(bench.ask("env", json!({"name": "HOME_TOWN"})).await.unwrap(), json!("Ulm"));
    assert_eq!(bench.ask("env", json!({"name": "OTHER"})).await.unwrap(), json!(null));
    assert_eq!(bench.ask("secret", json!({"name": "TOKEN"})).await.unwrap(), json!(null));
    assert_eq!(bench.refused("secret", json!({"name": "OTHER"})).await.kind, ErrorKind::MissingSecret);
}
