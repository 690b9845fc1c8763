//! Commands: fencing by epoch, refused commands, statistics, listening sockets, certificates, and the access log.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::Route;
use deployer::proxy::command::{Command, CommandReply, RefusalKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::fixture::{TestProxy, free_address, step};
use crate::support::async_http::{get, send};
use crate::support::target::TestTarget;

#[tokio::test(flavor = "multi_thread")]
async fn an_older_run_is_refused_after_a_newer_one() {
    let proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    let targets = [("old", old.address, 1), ("new", new.address, 0)];
    let route = |epoch| Command::RouteSet { epoch, route: proxy.route("web"), step: Some(step(&targets)) };
    proxy.done(route(5)).await;
    let switch = |epoch, target: &str| Command::Switch { epoch, service: "web".to_owned(), target: target.to_owned() };
    proxy.done(switch(7, "new")).await;
    proxy.done(switch(7, "new")).await;
    let late = proxy.ask(switch(6, "old")).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::Fenced);
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "new");
    proxy.done(Command::RouteRemove { epoch: 8, service: "web".to_owned() }).await;
    assert_eq!(proxy.ask(route(7)).await.unwrap_err().kind, RefusalKind::Fenced, "the epoch outlives the route");
    proxy.done(route(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_changes_nothing() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let before = proxy.show().await;
    let service = || "web".to_owned();
    let route = |address: &str| Route { address: address.to_owned(), ..proxy.route("other") };
    let taken = TestTarget::start("taken").await.address.to_string();
    let wrong = [
        (RefusalKind::Invalid, Command::TargetsSet { epoch: 90, service: service(), step: step(&[]) }),
        (
            RefusalKind::Invalid,
            Command::TargetsSet { epoch: 90, service: service(), step: step(&[("a", target.address, 0)]) },
        ),
        (
            RefusalKind::Invalid,
            Command::TargetsSet {
                epoch: 90,
                service: service(),
                step: step(&[("a", target.address, 1), ("a", target.address, 1)]),
            },
        ),
        (RefusalKind::NotFound, Command::Switch { epoch: 90, service: service(), target: "green".to_owned() }),
        (RefusalKind::NotFound, Command::Switch { epoch: 90, service: "no".to_owned(), target: "blue".to_owned() }),
        (RefusalKind::Conflict, Command::RouteSet { epoch: 1, route: route(&proxy.address.to_string()), step: None }),
        (RefusalKind::Failed, Command::RouteSet { epoch: 1, route: route(&taken), step: None }),
        (RefusalKind::Failed, Command::RouteSet { epoch: 1, route: route("192.0.2.1:80"), step: None }),
        (RefusalKind::Invalid, Command::RouteSet { epoch: 1, route: route("localhost"), step: None }),
        (RefusalKind::Invalid, Command::ReloadTls),
    ];
    for (kind, command) in wrong {
        let refusal = proxy.ask(command.clone()).await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{command:?}: {refusal}");
        assert_eq!(proxy.show().await, before, "{command:?}");
    }
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_fails_if_the_state_cannot_be_saved() {
    let proxy = TestProxy::start(&[]).await;
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    proxy.serve(&[("blue", blue.address, 1), ("green", green.address, 0)]).await;
    // A folder where the new file should be: even root cannot write it.
    std::fs::create_dir(proxy.folder.path().join("state.json.new")).unwrap();
    let command = Command::Switch { epoch: 9, service: "web".to_owned(), target: "green".to_owned() };
    let refusal = proxy.ask(command).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Failed, "{refusal}");
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_open_and_close_with_their_routes() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    let (first, also) = (proxy.address, free_address());
    assert!(TcpStream::connect(first).await.is_err());
    let route = Route { also: vec![also.to_string()], ..proxy.route("web") };
    proxy.serve_as(route, &[("blue", target.address, 1)]).await;
    for address in [first, also] {
        assert_eq!(send(address, get("/")).await.unwrap().text, "blue");
    }
    proxy.serve_as(proxy.route("web"), &[("blue", target.address, 1)]).await;
    let begun = std::time::Instant::now();
    while TcpStream::connect(also).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "still open");
    }
    assert_eq!(send(first, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_requests() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    for path in ["/", "/", "/status?404", "/status?503", "/slow?200"] {
        send(proxy.address, get(path)).await.unwrap();
    }
    let stats = proxy.stats().await;
    let blue = &stats.targets["blue"];
    assert_eq!((blue.requests, blue.in_flight), (5, 0));
    assert_eq!((blue.statuses["2xx"], blue.statuses["4xx"], blue.statuses["5xx"]), (3, 1, 1));
    assert!(blue.latency.max_ms >= 200.0 && blue.latency.p50_ms < 100.0, "{:?}", blue.latency);
    let metrics = proxy.client.metrics(Duration::from_secs(5)).await.unwrap();
    let line = "deployer_proxy_requests_total{service=\"web\",target=\"blue\",end=\"answered\"} 4";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_is_private_and_survives_invalid_requests() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let before = proxy.show().await[0].step();
    let path = proxy.folder.path().join("control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let large =
        format!("POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n{}", "[".repeat(5_000_000));
    let deeply_nested =
        format!("POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "[".repeat(100_000));
    for invalid in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"op\":\"fly\"}.",
        &large,
        &deeply_nested,
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        drop(stream.write_all(invalid.as_bytes()).await);
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
    }
    assert_eq!((proxy.status().await.pid, proxy.show().await[0].step()), (proxy.pid(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_has_a_line_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let proxy = TestProxy::start(&["--access-log", log.to_str().unwrap()]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    send(proxy.address, get("/a?secret=1")).await.unwrap();
    let begun = std::time::Instant::now();
    let line = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if let Some(line) = text.lines().next() {
            break line.to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["service"], &line["target"], &line["path"]), (&"web".into(), &"blue".into(), &"/a".into()));
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &4.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_reloaded_and_a_broken_one_keeps_the_old() {
    use std::sync::Arc;

    let folder = tempfile::tempdir().unwrap();
    let write = |host: &str| {
        let generated = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        std::fs::write(folder.path().join("default.crt"), generated.cert.pem()).unwrap();
        std::fs::write(folder.path().join("default.key"), generated.signing_key.serialize_pem()).unwrap();
        generated.cert.der().clone()
    };
    let first = write("localhost");
    let address = free_address();
    let (folder_text, address_text) = (folder.path().to_str().unwrap(), address.to_string());
    let proxy = TestProxy::start(&["--listen-tls", &address_text, "--tls-dir", folder_text]).await;
    let target = TestTarget::start("blue").await;
    let route = Route { address: address_text.clone(), ..proxy.route("web") };
    proxy.serve_as(route, &[("blue", target.address, 1)]).await;
    // Sends a request over TLS that trusts only this certificate, with HTTP/2 or HTTP/1.1.
    let ask = |certificate: rustls::pki_types::CertificateDer<'static>, http2: bool| async move {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(address).await?;
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let response = if http2 {
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, driver) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(driver);
            sender.send_request(crate::support::async_http::get_http2("/head")).await.unwrap()
        } else {
            let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(driver);
            sender.send_request(get("/head")).await.unwrap()
        };
        let text = crate::support::async_http::read_response(response).await.unwrap().text;
        assert!(text.contains("x-forwarded-proto: https"), "{text}");
        Ok::<_, std::io::Error>(())
    };
    ask(first.clone(), false).await.unwrap();
    ask(first.clone(), true).await.unwrap();
    let key = folder.path().join("default.key");
    std::fs::write(&key, "broken").unwrap();
    assert_eq!(proxy.ask(Command::ReloadTls).await.unwrap_err().kind, RefusalKind::Failed);
    ask(first.clone(), true).await.unwrap();
    let second = write("localhost");
    assert_eq!(proxy.done(Command::ReloadTls).await, CommandReply::Reloaded { certificates: 1 });
    ask(second, true).await.unwrap();
    assert!(ask(first, true).await.is_err(), "the old certificate is no longer used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ended_by_a_switch_cuts_nothing() {
    let proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address = proxy.address;
    let slow = tokio::spawn(async move { send(address, get("/slow?1500")).await });
    while proxy.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.switch("new").await;
    let drain = Command::Drain {
        epoch: proxy.next_epoch(),
        service: "web".to_owned(),
        target: "old".to_owned(),
        deadline: DurationText::secs(1),
        streams_deadline: None,
    };
    let client = proxy.client.clone();
    let drain = tokio::spawn(async move { client.ask(&drain, Duration::from_secs(20)).await.unwrap() });
    while !proxy.show().await[0].targets[0].draining {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.switch("old").await;
    assert_eq!(drain.await.unwrap().unwrap_err().kind, RefusalKind::Conflict);
    assert_eq!(slow.await.unwrap().unwrap().text, "old");
}
