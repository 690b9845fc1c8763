//! The way of a request: routing, heads, weights, retries, bodies, protocols.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use deployer::effect::traffic::{CanaryMark, CanaryRule, Mirror, Route, Targets};
use deployer::proxy::command::Command;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Rig, free_address, step};
use super::target::TestTarget;
use super::visit::{Kept, get, post, raw, request, second, second_get, visit, whole};

#[tokio::test(flavor = "multi_thread")]
async fn routes_by_host_and_the_longest_path() {
    let rig = Rig::start(&[]).await;
    let targets = [TestTarget::start("any").await, TestTarget::start("shop").await, TestTarget::start("api").await];
    let route = |service: &str, host: Option<&str>, prefix: Option<&str>| Route {
        host: host.map(str::to_owned),
        path_prefix: prefix.map(str::to_owned),
        ..rig.route(service)
    };
    rig.serve_as(route("any", None, None), &[("a", targets[0].address, 1)]).await;
    rig.serve_as(route("shop", Some("Shop.example.com"), None), &[("a", targets[1].address, 1)]).await;
    rig.serve_as(route("api", Some("shop.example.com"), Some("/api/")), &[("a", targets[2].address, 1)]).await;
    for (host, path, expected) in [
        ("example.com", "/", "any"),
        ("shop.example.com", "/", "shop"),
        ("SHOP.example.com:8080", "/apis", "shop"),
        ("shop.example.com", "/api", "api"),
        ("shop.example.com", "/api/v1", "api"),
        ("other.example.com", "/api", "any"),
    ] {
        let visited = visit(rig.address, request(Method::GET, path, &[("host", host)], Bytes::new())).await.unwrap();
        assert_eq!(visited.text, expected, "{host}{path}");
    }
    rig.done(Command::RouteRemove { epoch: 9, service: "any".to_owned() }).await;
    let visited = visit(rig.address, get("/")).await.unwrap();
    assert_eq!(visited.status, StatusCode::NOT_FOUND);
    assert!(visited.headers["proxy-status"].to_str().unwrap().contains("destination_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_tell_the_target_of_the_visitor_and_of_nothing_else() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
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
    let visited = visit(rig.address, request(Method::GET, "/head?a=b", &headers, Bytes::new())).await.unwrap();
    let lines: Vec<&str> = visited.text.lines().collect();
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
    for gone in ["x-secret", "keep-alive", "te:", "proxy-authorization", "9.9.9.9", "forwarded: "] {
        assert!(!lines.iter().any(|line| line.starts_with(gone) || line.contains("9.9.9.9")), "{gone} in {lines:?}");
    }
    assert_eq!(visited.headers["x-request-id"], "abc-1");
    let own = visit(rig.address, get("/head")).await.unwrap();
    assert_eq!(own.headers["x-request-id"].len(), 24, "an id of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_canaries_and_sticky_visitors_are_kept() {
    let rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 95), ("new", new.address, 5)]).await;
    let mut counts = BTreeMap::<String, u64>::new();
    let mut kept = Kept::open(rig.address).await.unwrap();
    for _ in 0..200 {
        *counts.entry(kept.visit(get("/")).await.unwrap().text).or_default() += 1;
    }
    assert!((9..=11).contains(&counts["new"]), "{counts:?}");

    let canary = CanaryRule { target: "new".to_owned(), by: CanaryMark::Cookie, name: "beta".to_owned(), value: None };
    let half = step(&[("old", old.address, 1), ("new", new.address, 1)]);
    rig.step(Targets { sticky: true, canary: Some(canary), ..half }).await;
    let beta = request(Method::GET, "/", &[("cookie", "a=1; beta=1")], Bytes::new());
    assert_eq!(visit(rig.address, beta).await.unwrap().text, "new");
    let first = visit(rig.address, get("/")).await.unwrap();
    let mark = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        let again = request(Method::GET, "/", &[("cookie", &mark)], Bytes::new());
        let again = visit(rig.address, again).await.unwrap();
        assert_eq!((again.text.as_str(), again.headers.get("set-cookie")), (first.text.as_str(), None));
    }
    rig.switch("old").await;
    let after = request(Method::GET, "/", &[("cookie", &mark)], Bytes::new());
    let after = visit(rig.address, after).await.unwrap();
    assert_eq!(after.text, "old");
    assert!(after.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"), "the mark ends with the step");
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_requests_are_mirrored_and_posts_are_not() {
    let rig = Rig::start(&[]).await;
    let (live, trial) = (TestTarget::start("live").await, TestTarget::start("trial").await);
    rig.serve(&[("live", live.address, 1)]).await;
    let mirror = Some(Mirror { address: trial.address.to_string(), percent: 50 });
    rig.done(Command::Mirror { epoch: 2, service: "web".to_owned(), mirror }).await;
    for _ in 0..20 {
        assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "live");
        assert_eq!(visit(rig.address, post("/", "x")).await.unwrap().text, "live 1");
    }
    let begun = std::time::Instant::now();
    while trial.requests() < 10 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} copies", trial.requests());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((trial.requests(), trial.seen.posts.load(Ordering::SeqCst)), (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_targets_are_used_again() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    let mut kept = Kept::open(rig.address).await.unwrap();
    for _ in 0..100 {
        kept.visit(get("/")).await.unwrap();
    }
    // The checks of its health are connections too.
    let connections = target.seen.connections.load(Ordering::SeqCst);
    assert!(connections < 20, "{connections} connections for 100 requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_is_passed_over_even_for_posts() {
    let rig = Rig::start(&[]).await;
    let alive = TestTarget::start("alive").await;
    rig.serve(&[("dead", free_address(), 1), ("alive", alive.address, 1)]).await;
    for _ in 0..20 {
        assert_eq!(visit(rig.address, post("/", "four")).await.unwrap().text, "alive 4");
    }
    assert_eq!(alive.seen.posts.load(Ordering::SeqCst), 20);
}

/// Reads a head, then closes without a word.
async fn rude(count: usize) -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let own = std::sync::Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            let own = std::sync::Arc::clone(&own);
            tokio::spawn(async move {
                let mut bytes = vec![0; 8192];
                // Checks of health open and close.
                for _ in 0..count {
                    if stream.read(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrude").await.unwrap();
                }
                if stream.read(&mut bytes).await.unwrap_or(0) > 0 {
                    own.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_received_is_never_sent_twice() {
    let rig = Rig::start(&[]).await;
    let (address, seen) = rude(0).await;
    let other = TestTarget::start("other").await;
    rig.serve(&[("rude", address, 1), ("other", other.address, 0)]).await;
    let visited = visit(rig.address, post("/", "once")).await.unwrap();
    assert_eq!(visited.status, StatusCode::BAD_GATEWAY);
    assert_eq!((seen.load(Ordering::SeqCst), other.requests()), (1, 0));
    // A request that may be repeated goes to the warm one.
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_breaks_costs_no_get() {
    let rig = Rig::start(&[]).await;
    // Each connection answers once and breaks under the second request.
    let (address, _) = rude(1).await;
    rig.serve(&[("rude", address, 1)]).await;
    let mut kept = Kept::open(rig.address).await.unwrap();
    for _ in 0..50 {
        assert_eq!(kept.visit(get("/")).await.unwrap().text, "rude");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_whole() {
    let rig = Rig::start(&["--body-max", "100000"]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    let fits = visit(rig.address, post("/", vec![b'x'; 100_000])).await.unwrap();
    assert_eq!(fits.text, "blue 100000");
    let declared = visit(rig.address, post("/", vec![b'x'; 100_001])).await.unwrap();
    assert_eq!(declared.status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "y".repeat(60_000));
    let chunked = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let answer = raw(rig.address, chunked.as_bytes(), Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let long = visit(rig.address, get("/long?3000000")).await.unwrap();
    assert_eq!(long.text.len(), 3_000_000);
    let head = visit(rig.address, request(Method::HEAD, "/long?1234", &[], Bytes::new())).await.unwrap();
    assert_eq!((head.text.as_str(), head.headers["content-length"].to_str().unwrap()), ("", "1234"));
    assert_eq!(visit(rig.address, get("/status?304")).await.unwrap().status, StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_without_tls() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    let mut sender = second(rig.address).await;
    let mut request = second_get("/head");
    request.headers_mut().append("cookie", "a=1".parse().unwrap());
    request.headers_mut().append("cookie", "b=2".parse().unwrap());
    let visited = whole(sender.send_request(request).await.unwrap()).await.unwrap();
    assert!(visited.text.contains("host: example.com\n"), "{}", visited.text);
    assert!(visited.text.contains("cookie: a=1; b=2\n"), "{}", visited.text);
    sender.ready().await.unwrap();
    let many = futures_util::future::join_all((0..50).map(|_| sender.clone().send_request(second_get("/slow?100"))));
    let begun = std::time::Instant::now();
    assert!(many.await.into_iter().all(|response| response.unwrap().status() == StatusCode::OK));
    assert!(begun.elapsed() < Duration::from_secs(4), "not one after the other");
}
