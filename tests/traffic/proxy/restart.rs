//! Stop and restart: SIGTERM, kill -9, sockets of a service manager, and upgrades to a new process.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::Child;
use std::time::{Duration, Instant};

use deployer::proxy::Client;
use deployer::proxy::command::{Command, CommandReply, RefusalKind};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::fixture::{self, TIMEOUT, TestProxy, free_address};
use crate::support::async_http::{EchoStream, KeptConnection, get, post, send};
use crate::support::load::Load;
use crate::support::target::TestTarget;

/// Higher than any file descriptor of the test process.
const FIRST_FD: i32 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_requests_and_cuts_streams_at_their_deadline() {
    let mut proxy = TestProxy::start(&["--drain", "10s", "--drain-streams", "3s"]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    let address = proxy.address;
    let slow = tokio::spawn(async move { send(address, get("/slow?1500")).await });
    let mut kept = KeptConnection::open(address).await.unwrap();
    assert_eq!(kept.send(post("/", "x")).await.unwrap().text, "blue 1");
    let mut echo = EchoStream::open(address).await.unwrap();
    while proxy.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    proxy.signal(Signal::SIGTERM);
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the proxy still listens");
    }
    // A request on an idle connection is answered with `Connection: close`.
    let last = kept.send(post("/", "x")).await.unwrap();
    assert_eq!((last.text.as_str(), last.headers["connection"].as_bytes()), ("blue 1", &b"close"[..]));
    assert_eq!(slow.await.unwrap().unwrap().text, "blue");
    echo.say("still here").await.unwrap();
    assert!(echo.ended().await);
    assert_eq!(proxy.ended(Duration::from_secs(15)), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_and_restart_restores_all_routes() {
    let mut proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    proxy.switch("new").await;
    let before = proxy.show().await;
    let address = proxy.address;
    let clients = tokio::spawn(async move {
        let mut refused = 0;
        for _ in 0..500 {
            refused += u32::from(TcpStream::connect(address).await.is_err());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        refused
    });
    proxy.kill();
    let begun = Instant::now();
    proxy.restart().await;
    let back = begun.elapsed();
    let refused = clients.await.unwrap();
    assert_eq!(proxy.show().await[0].route, before[0].route);
    assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "new");
    let late = Command::Switch { epoch: 1, service: "web".to_owned(), target: "old".to_owned() };
    assert_eq!(proxy.ask(late).await.unwrap_err().kind, RefusalKind::Fenced, "the epoch outlives the process");
    assert!(back < Duration::from_secs(5), "{back:?}");
    println!("killed; answers again after {back:?}; {refused} of 500 connections, one each ms, were refused");
}

/// Starts the proxy with a listening socket that the test keeps open, as a service manager does.
fn start_with_socket(folder: &std::path::Path, socket: &TcpListener) -> Child {
    // A copy without close-on-exec. Other processes that start meanwhile may inherit it, which is harmless.
    let copy = fcntl(socket, FcntlArg::F_DUPFD(FIRST_FD)).unwrap();
    let child =
        fixture::command(folder, &[]).env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", copy.to_string()).spawn();
    nix::unistd::close(copy).unwrap();
    child.unwrap()
}

async fn wait_ready(client: &Client) {
    let begun = Instant::now();
    while client.ask(&Command::Status, TIMEOUT).await.is_err() {
        assert!(begun.elapsed() < TIMEOUT, "not ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_refuses_no_connection_with_sockets_of_a_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let socket = TcpListener::bind(address).unwrap();
    assert!(socket.as_raw_fd() < FIRST_FD);
    let client = Client::new(folder.path().join("control.sock"));
    let target = TestTarget::start("blue").await;
    let mut child = start_with_socket(folder.path(), &socket);
    wait_ready(&client).await;
    let route = deployer::effect::traffic::Route {
        service: "web".to_owned(),
        address: address.to_string(),
        also: Vec::new(),
        host: None,
        path_prefix: None,
        check: Default::default(),
    };
    let step = Some(fixture::step(&[("blue", target.address, 1)]));
    client.ask(&Command::RouteSet { epoch: 1, route, step }, TIMEOUT).await.unwrap().unwrap();
    let mut connections = Vec::new();
    for number in 0..300 {
        if number == 100 {
            child.kill().unwrap();
            child.wait().unwrap();
            child = start_with_socket(folder.path(), &socket);
        }
        // Checks only that the connection is accepted: requests in flight are lost when the process is killed.
        connections.push(tokio::spawn(async move { TcpStream::connect(address).await.map(drop) }));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for connection in connections {
        connection.await.unwrap().unwrap();
    }
    wait_ready(&client).await;
    assert_eq!(send(address, get("/")).await.unwrap().text, "blue");
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn upgrade(proxy: &TestProxy, before: u32) -> u32 {
    let CommandReply::Upgraded { pid } = proxy.done(Command::Upgrade { binary: None }).await else {
        panic!("no upgrade")
    };
    proxy.successors.lock().unwrap().push(pid);
    assert_ne!(pid, before);
    assert_eq!(proxy.status().await.pid, pid);
    pid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_under_load_fails_no_request() {
    let mut proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let load = Load::start(proxy.address, 200, true);
    while load.answered() < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    upgrade(&proxy, proxy.pid()).await;
    proxy.switch("new").await;
    let seen = load.answered();
    while load.answered() < seen + 500 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let counts = load.finish().await;
    let failures = counts.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.total(), failures.first());
    assert_eq!(proxy.ended(Duration::from_secs(60)), Some(0), "{}", proxy.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_counts_requests_of_the_previous_process() {
    let mut proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address: SocketAddr = proxy.address;
    let slow = tokio::spawn(async move { send(address, get("/slow?3000")).await });
    while proxy.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    upgrade(&proxy, proxy.pid()).await;
    proxy.switch("new").await;
    let begun = Instant::now();
    let drained = proxy.drain("old", Duration::from_secs(20)).await;
    assert!(slow.is_finished() || drained.waited_ms > 500, "{drained:?} after {:?}", begun.elapsed());
    assert_eq!((drained.requests_cut, slow.await.unwrap().unwrap().text.as_str()), (0, "old"));
    assert_eq!(proxy.ended(Duration::from_secs(60)), Some(0), "{}", proxy.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_counts_requests_of_all_previous_processes() {
    let mut proxy = TestProxy::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    proxy.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address = proxy.address;
    let slow = tokio::spawn(async move { send(address, get("/slow?4000")).await });
    while proxy.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = upgrade(&proxy, proxy.pid()).await;
    upgrade(&proxy, second).await;
    proxy.switch("new").await;
    let drained = proxy.drain("old", Duration::from_secs(20)).await;
    assert!(slow.is_finished() || drained.waited_ms > 500, "{drained:?}");
    assert_eq!((drained.requests_cut, slow.await.unwrap().unwrap().text.as_str()), (0, "old"));
    assert_eq!(proxy.ended(Duration::from_secs(60)), Some(0), "{}", proxy.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_process_follows_changes_of_the_new_one() {
    let mut proxy = TestProxy::start(&[]).await;
    let old = TestTarget::start("old").await;
    proxy.serve(&[("old", old.address, 1)]).await;
    let mut kept = KeptConnection::open(proxy.address).await.unwrap();
    assert_eq!(kept.send(get("/")).await.unwrap().text, "old");
    upgrade(&proxy, proxy.pid()).await;
    // Adds a target that the previous process does not know, and stops the one that it knows.
    let new = TestTarget::start("new").await;
    proxy.step(fixture::step(&[("new", new.address, 1)])).await;
    old.kill().await;
    let last = kept.send(post("/", "x")).await.unwrap();
    assert_eq!((last.text.as_str(), last.headers["connection"].as_bytes()), ("new 1", &b"close"[..]));
    assert_eq!(proxy.ended(Duration::from_secs(60)), Some(0), "{}", proxy.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upgrade_keeps_the_old_process() {
    let proxy = TestProxy::start(&[]).await;
    let target = TestTarget::start("blue").await;
    proxy.serve(&[("blue", target.address, 1)]).await;
    for binary in ["/no/such/program", "/bin/false"] {
        let refusal = proxy.ask(Command::Upgrade { binary: Some(binary.into()) }).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Failed, "{refusal}");
        assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue");
        proxy.switch("blue").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_proxy_is_refused() {
    let proxy = TestProxy::start(&[]).await;
    let second = fixture::command(proxy.folder.path(), &[]).spawn().unwrap().wait().unwrap();
    assert!(!second.success());
    assert!(proxy.stderr().contains("a proxy is already running"), "{}", proxy.stderr());
    assert_eq!(proxy.status().await.pid, proxy.pid());
}
