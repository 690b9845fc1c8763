//! Caddy: servers of ours among those of others, changed under `If-Match`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deployer::effect::{Applied, ErrorKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::program::Kind;
use super::rig::{Rig, step};
use super::target::TestTarget;
use super::visit::{get, request, visit};

async fn config(rig: &Rig) -> Value {
    let host = rig.program.admin.to_string();
    let request = request(http::Method::GET, "/config/", &[("host", host.as_str())], bytes::Bytes::new());
    serde_json::from_str(&visit(rig.program.admin, request).await.unwrap().text).unwrap()
}

/// Somebody else's change.
async fn add_server(rig: &Rig, name: &str) {
    let host = rig.program.admin.to_string();
    let headers = [("host", host.as_str()), ("content-type", "application/json")];
    let body = json!({"listen": [format!("127.0.0.1:{}", super::ports::free_port())], "routes": []}).to_string();
    let path = format!("/config/apps/http/servers/{name}");
    let done = visit(rig.program.admin, request(http::Method::PUT, &path, &headers, body.into())).await.unwrap();
    assert!(done.status.is_success(), "{done:?}");
}

/// In front of the admin API: somebody else changes the configuration just before each of the first `times` changes.
async fn rival(rig: &Rig, times: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (own, admin) = (listener.local_addr().unwrap(), rig.program.admin);
    let met = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&met);
    tokio::spawn(async move {
        loop {
            let Ok((mut visitor, _)) = listener.accept().await else { return };
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut first = vec![0; 65_536];
                let count = visitor.read(&mut first).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&first[..count]).replace(&own.to_string(), &admin.to_string());
                if text.starts_with("PATCH") {
                    let number = seen.fetch_add(1, Ordering::SeqCst);
                    if number < times {
                        let path = format!("/config/apps/http/servers/rival{number}-{}", own.port());
                        let body = json!({"listen": [format!("127.0.0.1:{}", super::ports::free_port())]}).to_string();
                        let host = admin.to_string();
                        let headers = [("host", host.as_str()), ("content-type", "application/json")];
                        visit(admin, request(http::Method::PUT, &path, &headers, body.into())).await.unwrap();
                    }
                }
                let mut caddy = TcpStream::connect(admin).await.unwrap();
                caddy.write_all(text.as_bytes()).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut visitor, &mut caddy).await);
            });
        }
    });
    (own, met)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_others_stay_and_nothing_of_ours_does() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::start(Kind::Caddy);
    add_server(&rig, "own").await;
    let before = config(&rig).await;
    rig.done("traffic_route", rig.route()).await;
    rig.set(&[("blue", &blue, 1)]).await.unwrap();
    // By path, on the same address.
    let mut shop = rig.route();
    shop["service"] = json!("shop");
    shop["path_prefix"] = json!("/shop");
    rig.done("traffic_route", shop.clone()).await;
    let mut targets = step(&[("green", &green, 1)]);
    targets["service"] = json!("shop");
    rig.done("traffic_set", targets).await;
    let ask = async |path: &str| visit(rig.address(), get(path)).await.unwrap().text;
    assert_eq!(
        [ask("/").await, ask("/shop").await, ask("/shop/cart").await, ask("/shopping").await],
        ["blue", "green", "green", "blue"]
    );
    // The same twice is refused.
    shop["service"] = json!("twin");
    assert_eq!(rig.kind_of_refusal("traffic_route", shop).await, ErrorKind::Conflict);
    rig.done("traffic_forget", json!({"service": "twin", "missing_ok": true})).await;
    rig.forget().await;
    assert_eq!(ask("/shop").await, "green");
    assert_eq!(visit(rig.address(), get("/")).await.unwrap().status, 404);
    rig.done("traffic_forget", json!({"service": "shop"})).await;
    assert_eq!(config(&rig).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_somebody_else_is_never_lost() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Caddy, &[("blue", &blue, 1)]).await;
    let (through, met) = rival(&rig, 2).await;
    let mut route = rig.route();
    route["driver"]["admin"] = json!(format!("http://{through}"));
    rig.done("traffic_route", route.clone()).await;
    rig.set(&[("blue", &blue, 0), ("green", &green, 1)]).await.unwrap();
    assert_eq!(met.load(Ordering::SeqCst), 3, "two conflicts, and the third time");
    assert_eq!(rig.answer().await, "green");
    let servers = config(&rig).await["apps"]["http"]["servers"].clone();
    let of_rival = |number: usize| format!("rival{number}-{}", through.port());
    assert!(servers[of_rival(0)].is_object() && servers[of_rival(1)].is_object(), "{servers}");
    // One who never stops.
    let (through, _) = rival(&rig, usize::MAX).await;
    route["driver"]["admin"] = json!(format!("http://{through}"));
    rig.done("traffic_route", route).await;
    let error = rig.refused("traffic_switch", json!({"service": "web", "target": "blue"})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error}");
    assert_eq!(rig.answer().await, "green");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_changes_nothing() {
    let blue = TestTarget::start("blue").await;
    let rig = Rig::serving(Kind::Caddy, &[("blue", &blue, 1)]).await;
    let before = config(&rig).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut route = rig.route();
    route["address"] = json!(taken.local_addr().unwrap().to_string());
    let error = rig.refused("traffic_route", route).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::No), "{error}");
    assert!(error.detail.unwrap().contains("address already in use"));
    assert_eq!(config(&rig).await, before);
    assert_eq!(rig.answer().await, "blue");
}
