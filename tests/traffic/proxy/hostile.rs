//! Hostile clients: request smuggling, stalled and truncated requests, too many connections.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fixture::TestProxy;
use crate::support::async_http::{get, send, send_raw};
use crate::support::target::TestTarget;

const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn requests_cannot_be_smuggled() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    // The transfer encoding decides the length, and the connection is closed: the rest is never read as a request.
    for head in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"] {
        let before = target.requests();
        let text = format!("POST /head HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = send_raw(proxy.address, text.as_bytes(), TIMEOUT).await;
        let heads = answer.matches("HTTP/1.1 ").count();
        assert_eq!(heads, 1, "{answer}");
        let passed = answer.starts_with("HTTP/1.1 200");
        assert!(!passed || !answer.to_ascii_lowercase().contains("content-length: 5\n"), "{answer}");
        assert!(target.requests() <= before + 1);
    }
    for refused in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "\u{0}\u{1}\u{2}",
    ] {
        let before = target.requests();
        let answer = send_raw(proxy.address, refused.as_bytes(), TIMEOUT).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{refused:?}: {answer}");
        assert_eq!(target.requests(), before, "{refused:?} reached the target");
    }
    let chunk = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n";
    let answer = send_raw(proxy.address, chunk.as_bytes(), TIMEOUT).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_limited() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    let answer = send_raw(proxy.address, long.as_bytes(), TIMEOUT).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many: String = (0..500).map(|number| format!("X-{number}: y\r\n")).collect();
    let answer = send_raw(proxy.address, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes(), TIMEOUT).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(target.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_disconnected() {
    let proxy = TestProxy::start(&["--head-timeout", "700ms", "--idle-timeout", "700ms"]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    // A byte from time to time, nothing at all, and half of the HTTP/2 preface.
    for start in ["GET / HTTP/1.1\r\nHost: a\r\n", "", "PRI * HT"] {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let begun = Instant::now();
        stream.write_all(start.as_bytes()).await.unwrap();
        let send_slowly = async {
            let mut byte = [0];
            loop {
                if let Ok(read) = timeout(Duration::from_millis(100), stream.read(&mut byte)).await {
                    return read.unwrap_or(0);
                }
                if start.starts_with("GET") {
                    drop(stream.write_all(b"x").await);
                }
            }
        };
        timeout(TIMEOUT, send_slowly).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{start:?}: {:?}", begun.elapsed());
    }
    // An HTTP/2 connection without requests.
    let begun = Instant::now();
    let mut second = crate::support::async_http::connect_http2(proxy.address).await;
    while second.ready().await.is_ok() {
        assert!(begun.elapsed() < TIMEOUT, "an idle connection must be closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // An incomplete body.
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
    let begun = Instant::now();
    let answer = send_raw(proxy.address, half.as_bytes(), TIMEOUT).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    let stats = proxy.stats().await;
    assert_eq!(stats.targets["blue"].errors.client, 1, "counted as an error of the client");
    assert_eq!(stats.targets["blue"].in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_wait_and_do_not_stop_those_that_are_served() {
    let proxy = TestProxy::start(&["--connections", "4", "--head-timeout", "1s"]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let idle: Vec<_> = futures_util::future::join_all((0..20).map(|_| TcpStream::connect(proxy.address))).await;
    assert!(idle.iter().all(Result::is_ok), "excess connections wait in the queue");
    assert!(proxy.status().await.connections <= 4);
    let begun = Instant::now();
    let response = send(proxy.address, get("/")).await.unwrap();
    assert_eq!(response.text, "blue");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_frees_the_target() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"GET /slow?60000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while proxy.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let begun = Instant::now();
    while proxy.show().await[0].targets[0].in_flight > 0 {
        assert!(begun.elapsed() < TIMEOUT, "still in flight");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(proxy.stats().await.targets["blue"].errors.client, 1);
}
