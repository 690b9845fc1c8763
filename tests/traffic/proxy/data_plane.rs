//! The path of a request: routing, headers, weights, retries, bodies, protocols.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use deployer::effect::traffic::{CanaryMark, CanaryRule, Mirror, Route, Targets};
use deployer::proxy::command::Command;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fixture::{TestProxy, free_address, step};
use crate::support::async_http::{
    KeptConnection, connect_http2, get, get_http2, post, read_response, request, send, send_raw,
};
use crate::support::target::TestTarget;

#[tokio::test(flavor = "multi_thread")]
async fn routes_by_host_and_the_longest_path() {
    let proxy = TestProxy::start(&[]).await;
    let targets = [TestTarget::start("any").await, TestTarget::start("shop").await, TestTarget::start("api").await];
    let route = |service: &str, host: Option<&str>, prefix: Option<&str>| Route {
        host: host.map(str::to_owned),
        path_prefix: prefix.map(str::to_owned),
        ..proxy.route(service)
    };
    proxy.serve_as(route("any", None, None), &[("a", targets[0].address, 1)]).await;
    proxy.serve_as(route("shop", Some("Shop.example.com"), None), &[("a", targets[1].address, 1)]).await;
    proxy.serve_as(route("api", Some("shop.example.com"), Some("/api/")), &[("a", targets[2].address, 1)]).await;
    for (host, path, expected) in [
        ("example.com", "/", "any"),
        ("shop.example.com", "/", "shop"),
        ("SHOP.example.com:8080", "/apis", "shop"),
        ("shop.example.com", "/api", "api"),
        ("shop.example.com", "/api/v1", "api"),
        ("other.example.com", "/api", "any"),
    ] {
        let response = send(proxy.address, request(Method::GET, path, &[("host", host)], Bytes::new())).await.unwrap();
        assert_eq!(response.text, expected, "{host}{path}");
    }
    proxy.done(Command::RouteRemove { epoch: 9, service: "any".to_owned() }).await;
    let response = send(proxy.address, get("/")).await.unwrap();
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert!(response.headers["proxy-status"].to_str().unwrap().contains("destination_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_the_target_about_the_client_and_nothing_else() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let headers = [
        ("connection", "keep-alive, x-secret"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic eDp5"),
        ("x-forwarded-for", "9.9.9.9"),
        ("forwarded", "for=9.9.9.9"),
        ("x-real-ip", "9.9.9.9"),
        ("x-kept", "yes"),
        ("x-request-id", "abc-1"),
    ];
    let response = send(proxy.address, request(Method::GET, "/head?a=b", &headers, Bytes::new())).await.unwrap();
    let lines: Vec<&str> = response.text.lines().collect();
    assert_eq!(lines[0], "GET /head?a=b");
    for expected in [
        "host: example.com",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: example.com",
        "x-real-ip: 127.0.0.1",
        "x-kept: yes",
        "x-request-id: abc-1",
    ] {
        assert!(lines.contains(&expected), "{expected} in {lines:?}");
    }
    for removed in ["x-secret", "keep-alive", "te:", "proxy-authorization", "9.9.9.9", "forwarded: "] {
        assert!(
            !lines.iter().any(|line| line.starts_with(removed) || line.contains("9.9.9.9")),
            "{removed} in {lines:?}"
        );
    }
    assert_eq!(response.headers["x-request-id"], "abc-1");
    let without_id = send(proxy.address, get("/head")).await.unwrap();
    assert_eq!(without_id.headers["x-request-id"].len(), 24, "the proxy generates an id");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_canaries_and_sticky_clients_are_respected() {
    let proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 95), ("new", new.address, 5)]).await;
    let mut counts = BTreeMap::<String, u64>::new();
    let mut kept = KeptConnection::open(proxy.address).await.unwrap();
    for _ in 0..200 {
        *counts.entry(kept.send(get("/")).await.unwrap().text).or_default() += 1;
    }
    assert!((9..=11).contains(&counts["new"]), "{counts:?}");

    let canary = CanaryRule { target: "new".to_owned(), by: CanaryMark::Cookie, name: "beta".to_owned(), value: None };
    let half = step(&[("old", old.address, 1), ("new", new.address, 1)]);
    proxy.step(Targets { sticky: true, canary: Some(canary), ..half }).await;
    let beta = request(Method::GET, "/", &[("cookie", "a=1; beta=1")], Bytes::new());
    assert_eq!(send(proxy.address, beta).await.unwrap().text, "new");
    let first = send(proxy.address, get("/")).await.unwrap();
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        let again = request(Method::GET, "/", &[("cookie", &cookie)], Bytes::new());
        let again = send(proxy.address, again).await.unwrap();
        assert_eq!((again.text.as_str(), again.headers.get("set-cookie")), (first.text.as_str(), None));
    }
    proxy.switch("old").await;
    let after = request(Method::GET, "/", &[("cookie", &cookie)], Bytes::new());
    let after = send(proxy.address, after).await.unwrap();
    assert_eq!(after.text, "old");
    assert!(after.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"), "a new step ends the sticky cookie");
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_requests_are_mirrored_and_posts_are_not() {
    let proxy = TestProxy::start(&[]).await;
    let (live, trial) = (TestTarget::start("live").await, TestTarget::start("trial").await);
    proxy.serve(&[("live", live.address, 1)]).await;
    let mirror = Some(Mirror { address: trial.address.to_string(), percent: 50 });
    proxy.done(Command::Mirror { epoch: 2, service: "web".to_owned(), mirror }).await;
    for _ in 0..20 {
        assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "live");
        assert_eq!(send(proxy.address, post("/", "x")).await.unwrap().text, "live 1");
    }
    let begun = std::time::Instant::now();
    while trial.requests() < 10 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} copies", trial.requests());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((trial.requests(), trial.state.posts.load(Ordering::SeqCst)), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_targets_are_reused() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let mut kept = KeptConnection::open(proxy.address).await.unwrap();
    for _ in 0..100 {
        kept.send(get("/")).await.unwrap();
    }
    // Health checks open connections too.
    let connections = target.state.connections.load(Ordering::SeqCst);
    assert!(connections < 20, "{connections} connections for 100 requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_connections_is_skipped_even_for_posts() {
    let proxy = TestProxy::start(&[]).await;
    let alive = TestTarget::start("alive").await;
    proxy.serve(&[("dead", free_address(), 1), ("alive", alive.address, 1)]).await;
    for _ in 0..20 {
        assert_eq!(send(proxy.address, post("/", "four")).await.unwrap().text, "alive 4");
    }
    assert_eq!(alive.state.posts.load(Ordering::SeqCst), 20);
}

/// A server that answers `count` requests per connection, then closes the connection when the next one arrives.
async fn closing_server(count: usize) -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = std::sync::Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            let counter = std::sync::Arc::clone(&counter);
            tokio::spawn(async move {
                let mut bytes = vec![0; 8192];
                // Health checks only open and close.
                for _ in 0..count {
                    if stream.read(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrude").await.unwrap();
                }
                if stream.read(&mut bytes).await.unwrap_or(0) > 0 {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_have_been_received_is_never_sent_twice() {
    let proxy = TestProxy::start(&[]).await;
    let (address, seen) = closing_server(0).await;
    let other = TestTarget::start("other").await;
    proxy.serve(&[("rude", address, 1), ("other", other.address, 0)]).await;
    let response = send(proxy.address, post("/", "once")).await.unwrap();
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    assert_eq!((seen.load(Ordering::SeqCst), other.requests()), (1, 0));
    // A request that is safe to repeat goes to the warm target.
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_kept_alive_connection_fails_no_get() {
    let proxy = TestProxy::start(&[]).await;
    // Each connection answers once and breaks on the second request.
    let (address, _) = closing_server(1).await;
    proxy.serve(&[("rude", address, 1)]).await;
    let mut kept = KeptConnection::open(proxy.address).await.unwrap();
    for _ in 0..50 {
        assert_eq!(kept.send(get("/")).await.unwrap().text, "rude");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_and_complete() {
    let proxy = TestProxy::start(&["--body-max", "100000"]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let fits = send(proxy.address, post("/", vec![b'x'; 100_000])).await.unwrap();
    assert_eq!(fits.text, "blue 100000");
    let declared = send(proxy.address, post("/", vec![b'x'; 100_001])).await.unwrap();
    assert_eq!(declared.status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "y".repeat(60_000));
    let chunked = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let answer = send_raw(proxy.address, chunked.as_bytes(), Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let long = send(proxy.address, get("/long?3000000")).await.unwrap();
    assert_eq!(long.text.len(), 3_000_000);
    let head = send(proxy.address, request(Method::HEAD, "/long?1234", &[], Bytes::new())).await.unwrap();
    assert_eq!((head.text.as_str(), head.headers["content-length"].to_str().unwrap()), ("", "1234"));
    assert_eq!(send(proxy.address, get("/status?304")).await.unwrap().status, StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_works_without_tls() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let mut sender = connect_http2(proxy.address).await;
    let mut request = get_http2("/head");
    request.headers_mut().append("cookie", "a=1".parse().unwrap());
    request.headers_mut().append("cookie", "b=2".parse().unwrap());
    let response = read_response(sender.send_request(request).await.unwrap()).await.unwrap();
    assert!(response.text.contains("host: example.com\n"), "{}", response.text);
    assert!(response.text.contains("cookie: a=1; b=2\n"), "{}", response.text);
    sender.ready().await.unwrap();
    let many = futures_util::future::join_all((0..50).map(|_| sender.clone().send_request(get_http2("/slow?100"))));
    let begun = std::time::Instant::now();
    assert!(many.await.into_iter().all(|response| response.unwrap().status() == StatusCode::OK));
    assert!(begun.elapsed() < Duration::from_secs(4), "the requests must run concurrently");
}
