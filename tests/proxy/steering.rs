//! Commands: fences, refusals that change nothing, statistics, sockets that open and close, certificates, the log.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::Route;
use deployer::proxy::command::{Command, RefusalKind, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::rig::{Rig, free_address, step};
use super::target::TestTarget;
use super::visit::{get, visit};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_run_is_refused_after_a_newer_one() {
    let rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    let targets = [("old", old.address, 1), ("new", new.address, 0)];
    let route = |epoch| Command::RouteSet { epoch, route: rig.route("web"), step: Some(step(&targets)) };
    rig.done(route(5)).await;
    let switch = |epoch, target: &str| Command::Switch { epoch, service: "web".to_owned(), target: target.to_owned() };
    rig.done(switch(7, "new")).await;
    rig.done(switch(7, "new")).await;
    let late = rig.ask(switch(6, "old")).await.unwrap_err();
    assert_eq!(late.kind, RefusalKind::Fenced);
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "new");
    rig.done(Command::RouteRemove { epoch: 8, service: "web".to_owned() }).await;
    assert_eq!(rig.ask(route(7)).await.unwrap_err().kind, RefusalKind::Fenced, "remembered when it is gone");
    rig.done(route(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    let before = rig.show().await;
    let service = || "web".to_owned();
    let route = |address: &str| Route { address: address.to_owned(), ..rig.route("other") };
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
        (RefusalKind::Conflict, Command::RouteSet { epoch: 1, route: route(&rig.address.to_string()), step: None }),
        (RefusalKind::Failed, Command::RouteSet { epoch: 1, route: route(&taken), step: None }),
        (RefusalKind::Failed, Command::RouteSet { epoch: 1, route: route("192.0.2.1:80"), step: None }),
        (RefusalKind::Invalid, Command::RouteSet { epoch: 1, route: route("localhost"), step: None }),
        (RefusalKind::Invalid, Command::ReloadTls),
    ];
    for (kind, command) in wrong {
        let refusal = rig.ask(command.clone()).await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{command:?}: {refusal}");
        assert_eq!(rig.show().await, before, "{command:?}");
    }
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_written_changes_nothing() {
    let rig = Rig::start(&[]).await;
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    rig.serve(&[("blue", blue.address, 1), ("green", green.address, 0)]).await;
    // A folder where the new file should be: even root cannot write it.
    std::fs::create_dir(rig.folder.path().join("state.json.new")).unwrap();
    let command = Command::Switch { epoch: 9, service: "web".to_owned(), target: "green".to_owned() };
    let refusal = rig.ask(command).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Failed, "{refusal}");
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_open_and_close_with_their_routes() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    let (first, also) = (rig.address, free_address());
    assert!(TcpStream::connect(first).await.is_err());
    let route = Route { also: vec![also.to_string()], ..rig.route("web") };
    rig.serve_as(route, &[("blue", target.address, 1)]).await;
    for address in [first, also] {
        assert_eq!(visit(address, get("/")).await.unwrap().text, "blue");
    }
    rig.serve_as(rig.route("web"), &[("blue", target.address, 1)]).await;
    let begun = std::time::Instant::now();
    while TcpStream::connect(also).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "still open");
    }
    assert_eq!(visit(first, get("/")).await.unwrap().text, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_tell_what_happened() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    for path in ["/", "/", "/status?404", "/status?503", "/slow?200"] {
        visit(rig.address, get(path)).await.unwrap();
    }
    let stats = rig.stats().await;
    let blue = &stats.targets["blue"];
    assert_eq!((blue.requests, blue.in_flight), (5, 0));
    assert_eq!((blue.statuses["2xx"], blue.statuses["4xx"], blue.statuses["5xx"]), (3, 1, 1));
    assert!(blue.latency.max_ms >= 200.0 && blue.latency.p50_ms < 100.0, "{:?}", blue.latency);
    let metrics = rig.client.metrics(Duration::from_secs(5)).await.unwrap();
    let line = "deployer_proxy_requests_total{service=\"web\",target=\"blue\",end=\"answered\"} 4";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_is_its_owners_and_bears_nonsense() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    let before = rig.show().await[0].step();
    let path = rig.folder.path().join("control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let large =
        format!("POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n{}", "[".repeat(5_000_000));
    let nested =
        format!("POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "[".repeat(100_000));
    for nonsense in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "POST /v1/command HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"op\":\"fly\"}.",
        &large,
        &nested,
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        drop(stream.write_all(nonsense.as_bytes()).await);
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "blue");
    }
    assert_eq!((rig.status().await.pid, rig.show().await[0].step()), (rig.pid(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_has_a_line_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let rig = Rig::start(&["--access-log", log.to_str().unwrap()]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    visit(rig.address, get("/a?secret=1")).await.unwrap();
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
async fn certificates_are_read_again_and_a_broken_one_leaves_the_old() {
    use std::sync::Arc;

    let folder = tempfile::tempdir().unwrap();
    let write = |host: &str| {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        std::fs::write(folder.path().join("default.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("default.key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    };
    let first = write("localhost");
    let address = free_address();
    let (folder_text, address_text) = (folder.path().to_str().unwrap(), address.to_string());
    let rig = Rig::start(&["--listen-tls", &address_text, "--tls-dir", folder_text]).await;
    let target = TestTarget::start("blue").await;
    let route = Route { address: address_text.clone(), ..rig.route("web") };
    rig.serve_as(route, &[("blue", target.address, 1)]).await;
    // Trusts what it is told to, and says which protocol was agreed on.
    let ask = |certificate: rustls::pki_types::CertificateDer<'static>, second: bool| async move {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![if second { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(address).await?;
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let response = if second {
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, driver) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(driver);
            sender.send_request(super::visit::second_get("/head")).await.unwrap()
        } else {
            let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(driver);
            sender.send_request(get("/head")).await.unwrap()
        };
        let text = super::visit::whole(response).await.unwrap().text;
        assert!(text.contains("x-forwarded-proto: https"), "{text}");
        Ok::<_, std::io::Error>(())
    };
    ask(first.clone(), false).await.unwrap();
    ask(first.clone(), true).await.unwrap();
    let key = folder.path().join("default.key");
    std::fs::write(&key, "broken").unwrap();
    assert_eq!(rig.ask(Command::ReloadTls).await.unwrap_err().kind, RefusalKind::Failed);
    ask(first.clone(), true).await.unwrap();
    let second = write("localhost");
    assert_eq!(rig.done(Command::ReloadTls).await, Reply::Reloaded { certificates: 1 });
    ask(second, true).await.unwrap();
    assert!(ask(first, true).await.is_err(), "the new one is in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_taken_back_cuts_nothing() {
    let rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address = rig.address;
    let slow = tokio::spawn(async move { visit(address, get("/slow?1500")).await });
    while rig.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.switch("new").await;
    let drain = Command::Drain {
        epoch: rig.next_epoch(),
        service: "web".to_owned(),
        target: "old".to_owned(),
        deadline: DurationText::secs(1),
        streams_deadline: None,
    };
    let client = rig.client.clone();
    let drain = tokio::spawn(async move { client.ask(&drain, Duration::from_secs(20)).await.unwrap() });
    while !rig.show().await[0].targets[0].draining {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.switch("old").await;
    assert_eq!(drain.await.unwrap().unwrap_err().kind, RefusalKind::Conflict);
    assert_eq!(slow.await.unwrap().unwrap().text, "old");
}
