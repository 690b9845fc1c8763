//! Ends and beginnings: SIGTERM, kill -9, sockets of a service manager, one process taking over from another.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::Child;
use std::time::{Duration, Instant};

use deployer::proxy::Client;
use deployer::proxy::command::{Command, RefusalKind, Reply};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::load::Load;
use super::rig::{self, PATIENCE, Rig, free_address};
use super::target::TestTarget;
use super::visit::{Echo, Kept, get, post, visit};

/// Far from whatever the test process has open.
const FIRST_FD: i32 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_requests_end_and_cuts_streams_at_their_deadline() {
    let mut rig = Rig::start(&["--drain", "10s", "--drain-streams", "3s"]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    let address = rig.address;
    let slow = tokio::spawn(async move { visit(address, get("/slow?1500")).await });
    let mut kept = Kept::open(address).await.unwrap();
    assert_eq!(kept.visit(post("/", "x")).await.unwrap().text, "blue 1");
    let mut echo = Echo::open(address).await.unwrap();
    while rig.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    rig.signal(Signal::SIGTERM);
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "still listening");
    }
    // An idle connection is not closed under a request: it is answered, and told to end.
    let last = kept.visit(post("/", "x")).await.unwrap();
    assert_eq!((last.text.as_str(), last.headers["connection"].as_bytes()), ("blue 1", &b"close"[..]));
    assert_eq!(slow.await.unwrap().unwrap().text, "blue");
    echo.say("still here").await.unwrap();
    assert!(echo.ended().await);
    assert_eq!(rig.ended(Duration::from_secs(15)), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_and_restart_brings_all_routes_back() {
    let mut rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    rig.switch("new").await;
    let before = rig.show().await;
    let address = rig.address;
    let visitors = tokio::spawn(async move {
        let mut refused = 0;
        for _ in 0..500 {
            refused += u32::from(TcpStream::connect(address).await.is_err());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        refused
    });
    rig.kill();
    let begun = Instant::now();
    rig.restart().await;
    let back = begun.elapsed();
    let refused = visitors.await.unwrap();
    assert_eq!(rig.show().await[0].route, before[0].route);
    assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "new");
    let late = Command::Switch { epoch: 1, service: "web".to_owned(), target: "old".to_owned() };
    assert_eq!(rig.ask(late).await.unwrap_err().kind, RefusalKind::Fenced, "fences outlive the process");
    assert!(back < Duration::from_secs(5), "{back:?}");
    println!("killed; answers again after {back:?}; {refused} of 500 connections, one each ms, were refused");
}

/// With a listening socket that this test keeps, as a service manager does.
fn start_with_socket(folder: &std::path::Path, socket: &TcpListener) -> Child {
    // A copy without close-on-exec; other processes that start meanwhile may have it too, and do no harm.
    let copy = fcntl(socket, FcntlArg::F_DUPFD(FIRST_FD)).unwrap();
    let child = rig::command(folder, &[]).env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", copy.to_string()).spawn();
    nix::unistd::close(copy).unwrap();
    child.unwrap()
}

async fn ready(client: &Client) {
    let begun = Instant::now();
    while client.ask(&Command::Status, PATIENCE).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "not ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sockets_of_the_service_manager_kill_9_refuses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let socket = TcpListener::bind(address).unwrap();
    assert!(socket.as_raw_fd() < FIRST_FD);
    let client = Client::new(folder.path().join("control.sock"));
    let target = TestTarget::start("blue").await;
    let mut child = start_with_socket(folder.path(), &socket);
    ready(&client).await;
    let route = deployer::effect::traffic::Route {
        service: "web".to_owned(),
        address: address.to_string(),
        also: Vec::new(),
        host: None,
        path_prefix: None,
        check: Default::default(),
    };
    let step = Some(rig::step(&[("blue", target.address, 1)]));
    client.ask(&Command::RouteSet { epoch: 1, route, step }, PATIENCE).await.unwrap().unwrap();
    let mut visits = Vec::new();
    for number in 0..300 {
        if number == 100 {
            child.kill().unwrap();
            child.wait().unwrap();
            child = start_with_socket(folder.path(), &socket);
        }
        // Only whether it is refused: what was under way when the process was killed is lost.
        visits.push(tokio::spawn(async move { TcpStream::connect(address).await.map(drop) }));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for visit in visits {
        visit.await.unwrap().unwrap();
    }
    ready(&client).await;
    assert_eq!(visit(address, get("/")).await.unwrap().text, "blue");
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn has_taken_over(rig: &Rig, before: u32) -> u32 {
    let Reply::Upgraded { pid } = rig.done(Command::Upgrade { binary: None }).await else { panic!("no upgrade") };
    rig.successors.lock().unwrap().push(pid);
    assert_ne!(pid, before);
    assert_eq!(rig.status().await.pid, pid);
    pid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_refuse_and_fail_nobody() {
    let mut rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let load = Load::start(rig.address, 200, true);
    while load.answered() < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    has_taken_over(&rig, rig.pid()).await;
    rig.switch("new").await;
    let seen = load.answered();
    while load.answered() < seen + 500 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let counts = load.end().await;
    let failures = counts.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.all(), failures.first());
    assert_eq!(rig.ended(Duration::from_secs(60)), Some(0), "{}", rig.talk());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_counts_what_the_process_before_has_in_flight() {
    let mut rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address: SocketAddr = rig.address;
    let slow = tokio::spawn(async move { visit(address, get("/slow?3000")).await });
    while rig.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    has_taken_over(&rig, rig.pid()).await;
    rig.switch("new").await;
    let begun = Instant::now();
    let drained = rig.drain("old", Duration::from_secs(20)).await;
    assert!(slow.is_finished() || drained.waited_ms > 500, "{drained:?} after {:?}", begun.elapsed());
    assert_eq!((drained.requests_cut, slow.await.unwrap().unwrap().text.as_str()), (0, "old"));
    assert_eq!(rig.ended(Duration::from_secs(60)), Some(0), "{}", rig.talk());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_counts_all_processes_that_still_end() {
    let mut rig = Rig::start(&[]).await;
    let (old, new) = (TestTarget::start("old").await, TestTarget::start("new").await);
    rig.serve(&[("old", old.address, 1), ("new", new.address, 0)]).await;
    let address = rig.address;
    let slow = tokio::spawn(async move { visit(address, get("/slow?4000")).await });
    while rig.show().await[0].targets[0].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = has_taken_over(&rig, rig.pid()).await;
    has_taken_over(&rig, second).await;
    rig.switch("new").await;
    let drained = rig.drain("old", Duration::from_secs(20)).await;
    assert!(slow.is_finished() || drained.waited_ms > 500, "{drained:?}");
    assert_eq!((drained.requests_cut, slow.await.unwrap().unwrap().text.as_str()), (0, "old"));
    assert_eq!(rig.ended(Duration::from_secs(60)), Some(0), "{}", rig.talk());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_before_follows_the_one_that_took_over() {
    let mut rig = Rig::start(&[]).await;
    let old = TestTarget::start("old").await;
    rig.serve(&[("old", old.address, 1)]).await;
    let mut kept = Kept::open(rig.address).await.unwrap();
    assert_eq!(kept.visit(get("/")).await.unwrap().text, "old");
    has_taken_over(&rig, rig.pid()).await;
    // A target that the process before has never heard of, and the end of the one that it knows.
    let new = TestTarget::start("new").await;
    rig.step(rig::step(&[("new", new.address, 1)])).await;
    old.die().await;
    let last = kept.visit(post("/", "x")).await.unwrap();
    assert_eq!((last.text.as_str(), last.headers["connection"].as_bytes()), ("new 1", &b"close"[..]));
    assert_eq!(rig.ended(Duration::from_secs(60)), Some(0), "{}", rig.talk());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_fails_leaves_the_old_one_at_work() {
    let rig = Rig::start(&[]).await;
    let target = TestTarget::start("blue").await;
    rig.serve(&[("blue", target.address, 1)]).await;
    for binary in ["/no/such/program", "/bin/false"] {
        let refusal = rig.ask(Command::Upgrade { binary: Some(binary.into()) }).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Failed, "{refusal}");
        assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "blue");
        rig.switch("blue").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_proxy_is_refused() {
    let rig = Rig::start(&[]).await;
    let second = rig::command(rig.folder.path(), &[]).spawn().unwrap().wait().unwrap();
    assert!(!second.success());
    assert!(rig.talk().contains("a proxy runs already"), "{}", rig.talk());
    assert_eq!(rig.status().await.pid, rig.pid());
}
