//! Health checks and HTTP.

use deployer::effect::ErrorKind;
use deployer::effect::container::RunContainer;
use deployer::effect::health::WaitHealthy;
use deployer::effect::http::{HttpGet, HttpPost};
use deployer::effect::load::LoadTest;
use serde_json::json;

use crate::host::{APP_PORT, App};
use crate::stage::Stage;

/// Runs an app with its port published; returns the port.
async fn publish(stage: &Stage<'_>, app: App) -> u16 {
    let port = stage.port();
    let ports = [format!("127.0.0.1:{port}:{APP_PORT}")];
    stage.must::<RunContainer>(json!({ "name": stage.name("app"), "image": stage.image(app), "ports": ports })).await;
    port
}

pub async fn healthy_at_once(stage: &Stage<'_>) {
    let port = publish(stage, App::Web).await;
    let app = stage.name("app");
    let healthy = stage.must::<WaitHealthy>(json!({ "container": app, "path": "/health", "timeout": "10s" })).await;
    assert_eq!(healthy.status, Some(200));
    assert!(healthy.attempts >= 1 && healthy.waited_ms < 10_000, "{healthy:?}");
    let url = format!("http://127.0.0.1:{port}/health");
    let fields = json!({ "status": "ok", "deep.rows": 1 });
    let all = json!({
        "container": app, "url": url, "successes": 3, "body": "ok", "json": fields, "interval": "100ms", "timeout": "10s",
    });
    assert!(stage.must::<WaitHealthy>(all).await.attempts >= 3);
    stage.must::<WaitHealthy>(json!({ "tcp": format!("127.0.0.1:{port}"), "timeout": "10s" })).await;
    let wrong = json!({ "url": url, "json": { "status": "bad" }, "timeout": "400ms" });
    stage.refused::<WaitHealthy>(wrong, ErrorKind::Unhealthy).await;
}

pub async fn never_healthy(stage: &Stage<'_>) {
    let app = stage.name("app");
    publish(stage, App::Broken).await;
    let path = json!({ "container": app, "path": "/", "timeout": "1500ms" });
    stage.refused::<WaitHealthy>(path, ErrorKind::Unhealthy).await;
    let accepted = json!({ "container": app, "path": "/", "status": [500], "timeout": "10s" });
    assert_eq!(stage.must::<WaitHealthy>(accepted).await.status, Some(500));
    let nobody = json!({ "url": format!("http://127.0.0.1:{}/", stage.port()), "timeout": "400ms" });
    stage.refused::<WaitHealthy>(nobody, ErrorKind::Unhealthy).await;
    let nobody = json!({ "tcp": format!("127.0.0.1:{}", stage.port()), "timeout": "400ms" });
    stage.refused::<WaitHealthy>(nobody, ErrorKind::Unhealthy).await;
    let silent = stage.start("silent", App::Stubborn).await;
    let silent = json!({ "container": silent.id, "port": APP_PORT, "timeout": "600ms" });
    stage.refused::<WaitHealthy>(silent, ErrorKind::Unhealthy).await;
}

pub async fn dies_while_waited_for(stage: &Stage<'_>) {
    publish(stage, App::Dies).await;
    for extra in [json!({ "path": "/" }), json!({})] {
        let mut wait = json!({ "container": stage.name("app"), "timeout": "30s" });
        wait.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = stage.refused::<WaitHealthy>(wait, ErrorKind::ContainerDied).await;
        assert!(error.detail.as_deref().is_some_and(|detail| detail.contains("no configuration")), "{error:?}");
    }
}

pub async fn state_alone(stage: &Stage<'_>) {
    stage.start("app", App::Stubborn).await;
    let wait = json!({ "container": stage.name("app"), "steady": "300ms", "timeout": "10s" });
    let healthy = stage.must::<WaitHealthy>(wait).await;
    assert_eq!(healthy.status, None);
    let wait = json!({ "container": stage.name("app"), "steady": "1h", "timeout": "400ms" });
    stage.refused::<WaitHealthy>(wait, ErrorKind::Unhealthy).await;
}

pub async fn questions_that_are_none(stage: &Stage<'_>) {
    for wrong in [
        json!({}),
        json!({ "url": "http://127.0.0.1:1", "tcp": "127.0.0.1:1" }),
        json!({ "url": "http://127.0.0.1:1", "path": "/x" }),
        json!({ "container": stage.name("app"), "status": [200] }),
        json!({ "tcp": "127.0.0.1:1", "body": "x" }),
    ] {
        stage.refused::<WaitHealthy>(wrong, ErrorKind::Invalid).await;
    }
}

pub async fn http(stage: &Stage<'_>) {
    let port = publish(stage, App::Web).await;
    stage.must::<WaitHealthy>(json!({ "container": stage.name("app"), "path": "/", "timeout": "10s" })).await;
    let reply = stage.must::<HttpGet>(json!({ "url": format!("http://127.0.0.1:{port}/health") })).await;
    assert_eq!((reply.status, reply.truncated), (200, false));
    assert_eq!(reply.json.and_then(|json| json.get("status").cloned()), Some(json!("ok")));
    let nobody = json!({ "url": format!("http://127.0.0.1:{}/", stage.port()) });
    stage.refused::<HttpGet>(nobody.clone(), ErrorKind::Unavailable).await;
    stage.refused::<HttpPost>(nobody, ErrorKind::Unavailable).await;
    let broken_port = stage.port();
    let ports = [format!("127.0.0.1:{broken_port}:{APP_PORT}")];
    let spec = json!({ "name": stage.name("broken"), "image": stage.image(App::Broken), "ports": ports });
    stage.must::<RunContainer>(spec).await;
    let accepted = json!({ "container": stage.name("broken"), "path": "/", "status": [500], "timeout": "10s" });
    stage.must::<WaitHealthy>(accepted).await;
    stage.refused::<HttpGet>(json!({ "url": "no url at all" }), ErrorKind::Invalid).await;
}

pub async fn load(stage: &Stage<'_>) {
    let port = publish(stage, App::Web).await;
    let url = format!("http://127.0.0.1:{port}/health");
    stage.must::<WaitHealthy>(json!({ "url": url, "timeout": "10s" })).await;
    let load = stage.must::<LoadTest>(json!({ "url": url, "rate": 20, "duration": "1s" })).await;
    assert_eq!((load.planned, load.sent, load.answered, load.failed), (20, 20, 20, 0), "{load:?}");
    assert_eq!(load.statuses["2xx"], 20);
    assert!(load.latency.p50_ms > 0.0 && load.latency.max_ms >= load.latency.p50_ms, "{load:?}");
    let nobody = format!("http://127.0.0.1:{}/", stage.port());
    let load = stage.must::<LoadTest>(json!({ "url": nobody, "rate": 20, "duration": "500ms" })).await;
    assert_eq!((load.errors.connect, load.error_rate), (10, 1.0), "{load:?}");
    stage.refused::<LoadTest>(json!({ "url": url, "connections": 0 }), ErrorKind::Invalid).await;
}
