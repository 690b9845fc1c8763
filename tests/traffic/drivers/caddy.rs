//! Caddy: our servers beside those of others, changed with `If-Match`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deployer::effect::{Applied, ErrorKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::{DriverFixture, step};
use crate::support::async_http::{get, request, send};
use crate::support::route_program::Kind;
use crate::support::target::TestTarget;

async fn config(fixture: &DriverFixture) -> Value {
    let host = fixture.program.admin.to_string();
    let request = request(http::Method::GET, "/config/", &[("host", host.as_str())], bytes::Bytes::new());
    serde_json::from_str(&send(fixture.program.admin, request).await.unwrap().text).unwrap()
}

/// A change by another client.
async fn add_server(fixture: &DriverFixture, name: &str) {
    let host = fixture.program.admin.to_string();
    let headers = [("host", host.as_str()), ("content-type", "application/json")];
    let body =
        json!({"listen": [format!("127.0.0.1:{}", crate::support::ports::free_port())], "routes": []}).to_string();
    let path = format!("/config/apps/http/servers/{name}");
    let done = send(fixture.program.admin, request(http::Method::PUT, &path, &headers, body.into())).await.unwrap();
    assert!(done.status.is_success(), "{done:?}");
}

/// So many conflicts that no change ever succeeds.
const ALWAYS: usize = usize::MAX;

/// A proxy in front of the admin API: it changes the configuration just before each of the first `times` changes.
async fn conflicting_admin(fixture: &DriverFixture, times: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, admin) = (listener.local_addr().unwrap(), fixture.program.admin);
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let Ok((mut client, _)) = listener.accept().await else { return };
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut first = vec![0; 65_536];
                let read = client.read(&mut first).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&first[..read]).replace(&address.to_string(), &admin.to_string());
                if text.starts_with("PATCH") {
                    let number = seen.fetch_add(1, Ordering::SeqCst);
                    if times == ALWAYS {
                        // Not from Caddy: for each real change it restarts its admin API, which may drop the request.
                        let refusal =
                            "HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        drop(client.write_all(refusal.as_bytes()).await);
                        return;
                    }
                    if number < times {
                        let path = format!("/config/apps/http/servers/rival{number}-{}", address.port());
                        let body = json!({"listen": [format!("127.0.0.1:{}", crate::support::ports::free_port())]})
                            .to_string();
                        let host = admin.to_string();
                        let headers = [("host", host.as_str()), ("content-type", "application/json")];
                        send(admin, request(http::Method::PUT, &path, &headers, body.into())).await.unwrap();
                    }
                }
                let mut caddy = TcpStream::connect(admin).await.unwrap();
                caddy.write_all(text.as_bytes()).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut caddy).await);
            });
        }
    });
    (address, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_servers_are_removed_and_others_stay() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::start(Kind::Caddy);
    add_server(&fixture, "own").await;
    let before = config(&fixture).await;
    fixture.done("traffic_route", fixture.route()).await;
    fixture.set(&[("blue", &blue, 1)]).await.unwrap();
    // Another service with a path on the same address.
    let mut shop = fixture.route();
    shop["service"] = json!("shop");
    shop["path_prefix"] = json!("/shop");
    fixture.done("traffic_route", shop.clone()).await;
    let mut targets = step(&[("green", &green, 1)]);
    targets["service"] = json!("shop");
    fixture.done("traffic_set", targets).await;
    let fetch = async |path: &str| send(fixture.address(), get(path)).await.unwrap().text;
    assert_eq!(
        [fetch("/").await, fetch("/shop").await, fetch("/shop/cart").await, fetch("/shopping").await],
        ["blue", "green", "green", "blue"]
    );
    // A duplicate route is refused.
    shop["service"] = json!("second");
    assert_eq!(fixture.kind_of_refusal("traffic_route", shop).await, ErrorKind::Conflict);
    fixture.done("traffic_forget", json!({"service": "second", "missing_ok": true})).await;
    fixture.forget().await;
    assert_eq!(fetch("/shop").await, "green");
    assert_eq!(send(fixture.address(), get("/")).await.unwrap().status, 404);
    fixture.done("traffic_forget", json!({"service": "shop"})).await;
    assert_eq!(config(&fixture).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_are_never_lost() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Caddy, &[("blue", &blue, 1)]).await;
    let (proxy, count) = conflicting_admin(&fixture, 2).await;
    let mut route = fixture.route();
    route["driver"]["admin"] = json!(format!("http://{proxy}"));
    fixture.done("traffic_route", route.clone()).await;
    fixture.set(&[("blue", &blue, 0), ("green", &green, 1)]).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3, "two conflicts, then success");
    assert_eq!(fixture.answer().await, "green");
    let servers = config(&fixture).await["apps"]["http"]["servers"].clone();
    let conflicting_server = |number: usize| format!("rival{number}-{}", proxy.port());
    assert!(servers[conflicting_server(0)].is_object() && servers[conflicting_server(1)].is_object(), "{servers}");
    // A client that conflicts every time.
    let (proxy, _) = conflicting_admin(&fixture, ALWAYS).await;
    route["driver"]["admin"] = json!(format!("http://{proxy}"));
    fixture.done("traffic_route", route).await;
    let error = fixture.refused("traffic_switch", json!({"service": "web", "target": "blue"})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error}");
    assert_eq!(fixture.answer().await, "green");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_changes_nothing() {
    let blue = TestTarget::start("blue").await;
    let fixture = DriverFixture::serving(Kind::Caddy, &[("blue", &blue, 1)]).await;
    let before = config(&fixture).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut route = fixture.route();
    route["address"] = json!(taken.local_addr().unwrap().to_string());
    let error = fixture.refused("traffic_route", route).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::No), "{error}");
    assert!(error.detail.unwrap().contains("address already in use"));
    assert_eq!(config(&fixture).await, before);
    assert_eq!(fixture.answer().await, "blue");
}
