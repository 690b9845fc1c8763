//! Health checks and HTTP.

use deployer::effect::ErrorKind;
use deployer::effect::container::RunContainer;
use deployer::effect::health::WaitHealthy;
use deployer::effect::http::{HttpGet, HttpPost};
use deployer::effect::load::LoadTest;
use serde_json::json;

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::{APP_PORT, App};

/// Runs an app with a published port; returns the port.
async fn publish(context: &ScenarioContext<'_>, app: App) -> u16 {
    let port = context.port();
    let ports = [format!("127.0.0.1:{port}:{APP_PORT}")];
    context
        .must::<RunContainer>(json!({ "name": context.name("app"), "image": context.image(app), "ports": ports }))
        .await;
    port
}

pub async fn healthy_at_once(context: &ScenarioContext<'_>) {
    let port = publish(context, App::Web).await;
    let app = context.name("app");
    let healthy = context.must::<WaitHealthy>(json!({ "container": app, "path": "/health", "timeout": "10s" })).await;
    assert_eq!(healthy.status, Some(200));
    assert!(healthy.attempts >= 1 && healthy.waited_ms < 10_000, "{healthy:?}");
    let url = format!("http://127.0.0.1:{port}/health");
    let fields = json!({ "status": "ok", "deep.rows": 1 });
    let all = json!({
        "container": app, "url": url, "successes": 3, "body": "ok", "json": fields, "interval": "100ms", "timeout": "10s",
    });
    assert!(context.must::<WaitHealthy>(all).await.attempts >= 3);
    context.must::<WaitHealthy>(json!({ "tcp": format!("127.0.0.1:{port}"), "timeout": "10s" })).await;
    let wrong = json!({ "url": url, "json": { "status": "bad" }, "timeout": "400ms" });
    context.refused::<WaitHealthy>(wrong, ErrorKind::Unhealthy).await;
}

pub async fn never_healthy(context: &ScenarioContext<'_>) {
    let app = context.name("app");
    publish(context, App::Broken).await;
    let path = json!({ "container": app, "path": "/", "timeout": "1500ms" });
    context.refused::<WaitHealthy>(path, ErrorKind::Unhealthy).await;
    let accepted = json!({ "container": app, "path": "/", "status": [500], "timeout": "10s" });
    assert_eq!(context.must::<WaitHealthy>(accepted).await.status, Some(500));
    let closed_port = json!({ "url": format!("http://127.0.0.1:{}/", context.port()), "timeout": "400ms" });
    context.refused::<WaitHealthy>(closed_port, ErrorKind::Unhealthy).await;
    let closed_port = json!({ "tcp": format!("127.0.0.1:{}", context.port()), "timeout": "400ms" });
    context.refused::<WaitHealthy>(closed_port, ErrorKind::Unhealthy).await;
    let silent = context.start("silent", App::Stubborn).await;
    let silent = json!({ "container": silent.id, "port": APP_PORT, "timeout": "600ms" });
    context.refused::<WaitHealthy>(silent, ErrorKind::Unhealthy).await;
}

pub async fn container_dies_during_the_wait(context: &ScenarioContext<'_>) {
    publish(context, App::Dies).await;
    for extra in [json!({ "path": "/" }), json!({})] {
        let mut wait = json!({ "container": context.name("app"), "timeout": "30s" });
        wait.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = context.refused::<WaitHealthy>(wait, ErrorKind::ContainerDied).await;
        assert!(error.detail.as_deref().is_some_and(|detail| detail.contains("no configuration")), "{error:?}");
    }
}

pub async fn running_is_healthy_without_a_check(context: &ScenarioContext<'_>) {
    context.start("app", App::Stubborn).await;
    let wait = json!({ "container": context.name("app"), "steady": "300ms", "timeout": "10s" });
    let healthy = context.must::<WaitHealthy>(wait).await;
    assert_eq!(healthy.status, None);
    let wait = json!({ "container": context.name("app"), "steady": "1h", "timeout": "400ms" });
    context.refused::<WaitHealthy>(wait, ErrorKind::Unhealthy).await;
}

pub async fn invalid_health_checks(context: &ScenarioContext<'_>) {
    for wrong in [
        json!({}),
        json!({ "url": "http://127.0.0.1:1", "tcp": "127.0.0.1:1" }),
        json!({ "url": "http://127.0.0.1:1", "path": "/x" }),
        json!({ "container": context.name("app"), "status": [200] }),
        json!({ "tcp": "127.0.0.1:1", "body": "x" }),
    ] {
        context.refused::<WaitHealthy>(wrong, ErrorKind::Invalid).await;
    }
}

pub async fn http(context: &ScenarioContext<'_>) {
    let port = publish(context, App::Web).await;
    context.must::<WaitHealthy>(json!({ "container": context.name("app"), "path": "/", "timeout": "10s" })).await;
    let reply = context.must::<HttpGet>(json!({ "url": format!("http://127.0.0.1:{port}/health") })).await;
    assert_eq!((reply.status, reply.truncated), (200, false));
    assert_eq!(reply.json.and_then(|json| json.get("status").cloned()), Some(json!("ok")));
    let closed_port = json!({ "url": format!("http://127.0.0.1:{}/", context.port()) });
    context.refused::<HttpGet>(closed_port.clone(), ErrorKind::Unavailable).await;
    context.refused::<HttpPost>(closed_port, ErrorKind::Unavailable).await;
    let broken_port = context.port();
    let ports = [format!("127.0.0.1:{broken_port}:{APP_PORT}")];
    let spec = json!({ "name": context.name("broken"), "image": context.image(App::Broken), "ports": ports });
    context.must::<RunContainer>(spec).await;
    let accepted = json!({ "container": context.name("broken"), "path": "/", "status": [500], "timeout": "10s" });
    context.must::<WaitHealthy>(accepted).await;
    context.refused::<HttpGet>(json!({ "url": "no url at all" }), ErrorKind::Invalid).await;
}

pub async fn load(context: &ScenarioContext<'_>) {
    let port = publish(context, App::Web).await;
    let url = format!("http://127.0.0.1:{port}/health");
    context.must::<WaitHealthy>(json!({ "url": url, "timeout": "10s" })).await;
    let load = context.must::<LoadTest>(json!({ "url": url, "rate": 20, "duration": "1s" })).await;
    assert_eq!((load.planned, load.sent, load.answered, load.failed), (20, 20, 20, 0), "{load:?}");
    assert_eq!(load.statuses["2xx"], 20);
    assert!(load.latency.p50_ms > 0.0 && load.latency.max_ms >= load.latency.p50_ms, "{load:?}");
    let closed_port = format!("http://127.0.0.1:{}/", context.port());
    let load = context.must::<LoadTest>(json!({ "url": closed_port, "rate": 20, "duration": "500ms" })).await;
    assert_eq!((load.errors.connect, load.error_rate), (10, 1.0), "{load:?}");
    context.refused::<LoadTest>(json!({ "url": url, "connections": 0 }), ErrorKind::Invalid).await;
}
