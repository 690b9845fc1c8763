//! Attacks on what the routes protect: tunnels past them, forged headers, dropped bodies, ambiguous paths, exhaustion.

use std::process::Command as Process;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::fixture::{TIMEOUT, TestProxy};
use crate::support::async_http::{EchoStream, connect_http2, get, get_http2, send, send_raw};
use crate::support::target::TestTarget;

/// A target that sends `answer` to every connection, and returns the bytes of each request head and of its body.
async fn raw_target(
    answer: &'static str,
) -> (std::net::SocketAddr, JoinHandle<()>, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            let chunked = |received: &[u8]| received.windows(26).any(|part| part == b"transfer-encoding: chunked");
            let ends = |received: &[u8]| {
                received.ends_with(b"\r\n\r\n") && (!chunked(received) || received.ends_with(b"0\r\n\r\n"))
            };
            while !ends(&received) {
                match stream.read_u8().await {
                    Ok(byte) => received.push(byte),
                    Err(_) => break,
                }
            }
            // The health check connects and sends nothing.
            if received.is_empty() {
                continue;
            }
            sender.send(String::from_utf8(received).unwrap()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, server, receiver)
}

async fn next(requests: &mut tokio::sync::mpsc::Receiver<String>) -> String {
    timeout(TIMEOUT, requests.recv()).await.unwrap().unwrap()
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const CLIENT_LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn only_websocket_is_tunnelled() {
    let proxy = TestProxy::start(&[]).await;
    let (address, _server, mut requests) = raw_target(EMPTY).await;
    proxy.serve(&[("blue", address, 1)]).await;
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nHTTP2-Settings: AA",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c",
        "DELETE / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket",
    ] {
        let text = format!("{head}\r\n\r\n");
        let (answer, seen) = tokio::join!(send_raw(proxy.address, text.as_bytes(), CLIENT_LIMIT), next(&mut requests));
        assert!(answer.starts_with("HTTP/1.1 200"), "{head}: {answer}");
        for removed in ["upgrade", "http2-settings", "h2c"] {
            assert!(!seen.to_ascii_lowercase().contains(removed), "{head}: {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_cannot_switch_to_another_protocol() {
    let proxy = TestProxy::start(&[]).await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nhidden";
    let (address, _server, _requests) = raw_target(answer).await;
    proxy.serve(&[("blue", address, 1)]).await;
    for head in ["Connection: Upgrade\r\nUpgrade: websocket\r\n", ""] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        let answer = send_raw(proxy.address, text.as_bytes(), CLIENT_LIMIT).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(!answer.contains("hidden"), "{answer}");
    }
}

/// What a client may send to look like another one.
const FORGED: &str = "X-Forwarded-For: 9.9.9.1\r\nX-Forwarded-For: 9.9.9.2\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: evil\r\nX-Forwarded-Ssl: on\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /e\r\n\
                      X-Forwarded-Scheme: https\r\nX_Forwarded_For: 9.9.9.3\r\nX-Real_IP: 9.9.9.4\r\nX-Real-IP: 9.9.9.5\r\n\
                      Forwarded: for=9.9.9.6\r\nProxy: http://evil\r\nConnection: close, X-Forwarded-For, X-Real-IP\r\n";

async fn forwarded(arguments: &[&str]) -> String {
    let proxy = TestProxy::start(arguments).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let text = format!("GET /head HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n");
    send_raw(proxy.address, text.as_bytes(), CLIENT_LIMIT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_forge_who_they_are() {
    for arguments in [&[][..], &["--trust-forwarded", "10.0.0.0/8,::1"][..]] {
        let seen = forwarded(arguments).await;
        for forged in ["9.9.9.", "evil", "https", "ssl", "-port", "prefix", "scheme", "_", "forwarded: "] {
            assert!(!seen.to_ascii_lowercase().contains(forged), "{arguments:?}: {forged} in {seen}");
        }
        for own in ["x-forwarded-for: 127.0.0.1\n", "x-real-ip: 127.0.0.1\n", "x-forwarded-host: a\n"] {
            assert!(seen.contains(own), "{own} in {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_trusted_proxy_are_kept_whole() {
    for arguments in [&["--trust-forwarded", "127.0.0.0/8"][..], &["--trust-forwarded"][..]] {
        let seen = forwarded(arguments).await;
        for kept in [
            "x-forwarded-for: 9.9.9.1, 9.9.9.2, 127.0.0.1\n",
            "x-real-ip: 9.9.9.5\n",
            "x-forwarded-proto: https\n",
            "x-forwarded-host: evil\n",
            "forwarded: for=9.9.9.6\n",
        ] {
            assert!(seen.contains(kept), "{arguments:?}: {kept} in {seen}");
        }
        for removed in ["9.9.9.3", "9.9.9.4", "http://evil"] {
            assert!(!seen.contains(removed), "{removed} in {seen}");
        }
    }
    let proxy = TestProxy::start(&["--trust-forwarded"]).await;
    assert!(proxy.stderr().contains("trusts loopback and private networks"), "{}", proxy.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_keeps_its_chunked_body() {
    let proxy = TestProxy::start(&[]).await;
    let (address, _server, mut requests) = raw_target(EMPTY).await;
    proxy.serve(&[("blue", address, 1)]).await;
    for method in ["GET", "HEAD", "POST"] {
        let text =
            format!("{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
        let (_, seen) = tokio::join!(send_raw(proxy.address, text.as_bytes(), CLIENT_LIMIT), next(&mut requests));
        assert!(seen.starts_with(method) && seen.contains("body"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_compared_as_targets_read_it() {
    let proxy = TestProxy::start(&[]).await;
    let (public, admin) = (TestTarget::start("public").await, TestTarget::start("admin").await);
    proxy.serve(&[("public", public.address, 1)]).await;
    // Without path rules, every path reaches the target as it is.
    let answer = raw_get(&proxy, "/head/..%2f").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let route = deployer::effect::traffic::Route { path_prefix: Some("/admin".to_owned()), ..proxy.route("admin") };
    proxy.serve_as(route, &[("admin", admin.address, 1)]).await;
    for path in ["/admin", "/admin/x", "/api/../admin", "//admin", "/./admin", "/%61dmin", "/a/b/../../admin/x"] {
        let answer = raw_get(&proxy, path).await;
        assert!(answer.ends_with("admin"), "{path}: {answer}");
    }
    for path in ["/a", "/administrator", "/admin/../a", "/.well-known/x", "/a;b=c"] {
        let answer = raw_get(&proxy, path).await;
        assert!(answer.ends_with("public"), "{path}: {answer}");
    }
    for path in
        ["/a/%2e%2e/admin", "/a/.%2E/admin", "/a%2f..%2fadmin", "/a/..;/admin", "/a/..;x/admin", "/a\\..\\admin"]
    {
        let answer = raw_get(&proxy, path).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
}

async fn raw_get(proxy: &TestProxy, path: &str) -> String {
    let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    send_raw(proxy.address, text.as_bytes(), TIMEOUT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_is_not_asked_for_twice() {
    let proxy = TestProxy::start(&[]).await;
    let (address, _server, mut requests) = raw_target("HTTP/1.1 banana\r\n\r\n").await;
    proxy.serve(&[("blue", address, 1)]).await;
    let answer = raw_get(&proxy, "/").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("http_protocol_error"), "{answer}");
    next(&mut requests).await;
    assert!(requests.try_recv().is_err(), "the target received the request twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_headers_pass() {
    let proxy = TestProxy::start(&[]).await;
    let (address, _server, mut requests) = raw_target(EMPTY).await;
    proxy.serve(&[("blue", address, 1)]).await;
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{many}\r\n");
    let (answer, seen) = tokio::join!(send_raw(proxy.address, text.as_bytes(), TIMEOUT), next(&mut requests));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(seen.matches("x-").count(), 200 + 5, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_websocket_ends() {
    let proxy = TestProxy::start(&["--stream-idle-timeout", "200ms"]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let mut stream = EchoStream::open(proxy.address).await.unwrap();
    stream.say("hello").await.unwrap();
    assert!(stream.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_file_descriptors_is_not_the_targets_fault() {
    let mut proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let pid = proxy.pid().to_string();
    let limited = Process::new("prlimit").args(["--pid", &pid, "--nofile=100:100"]).status().unwrap();
    assert!(limited.success());
    let mut clients = Vec::new();
    for _ in 0..2 {
        let client = connect_http2(proxy.address).await;
        clients.extend((0..100).map(|_| {
            let mut client = client.clone();
            async move { client.send_request(get_http2("/slow?1000")).await.unwrap().status() }
        }));
    }
    let statuses = timeout(TIMEOUT, futures_util::future::join_all(clients)).await.unwrap();
    let count = |status: StatusCode| statuses.iter().filter(|seen| **seen == status).count();
    let (ok, full) = (count(StatusCode::OK), count(StatusCode::SERVICE_UNAVAILABLE));
    assert!(ok > 0 && full > 0 && ok + full == 200, "{statuses:?}");
    let stats = proxy.stats().await;
    assert_eq!(stats.targets["blue"].errors.connect, 0);
    assert!(proxy.show().await[0].targets[0].healthy);
    proxy.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn places_follow_the_limit_of_file_descriptors() {
    let proxy = TestProxy::start(&["--connections", "10000000"]).await;
    assert!(proxy.stderr().contains("client connections at a time instead of 10000000"), "{}", proxy.stderr());
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
}
