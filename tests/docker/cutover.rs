//! Cutovers between two real containers behind each driver, under mixed load: new connections, posts on kept-alive
//! connections, WebSockets, responses of five seconds, HTTP/2. Each cutover is a run of deployer, and a fifth of them is
//! killed. Behind the embedded proxy and HAProxy, no request fails or is cut. Behind nginx and Caddy, some fail during
//! reloads (docs/src/traffic.md).

use crate::support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::async_http;
use support::deployer::Deployer;
use support::docker::Docker;
use support::load::{Counts, Load};
use support::ports::free_port;
use support::proxy_process::ProxyProcess;
use support::route_program::{Kind, Program};
use support::watched_run::WatchedRun;

const SLOW_MS: u64 = 5_000;
/// Responses between two cutovers.
const RESPONSES_BETWEEN: u64 = 30;
/// One in so many cutovers is killed.
const KILL_ONE_IN: usize = 5;
/// The moments of the kills, in turn.
const KILLS: [Kill; 7] = [
    Kill::Before(3),
    Kill::After(0),
    Kill::Before(5),
    Kill::After(4),
    Kill::Before(6),
    Kill::After(16),
    Kill::After(64),
];

#[derive(Clone, Copy, Debug)]
enum Kill {
    /// Before this journal entry.
    Before(usize),
    /// This many milliseconds after the intent of `traffic_switch`.
    After(u64),
}

const START: &str = r#"
let p = params(#{ service: required("string", ""), image: required("string", ""), address: required("string", ""),
    ports: required("list", "") });
lock(p.service);
traffic_route(#{ service: p.service, address: p.address, driver: #DRIVER });
let targets = [];
for (name, at) in ["blue", "green"] {
    let container = docker_run(#{ name: `${p.service}-${name}`, image: p.image, service: p.service,
        environment: #{ NAME: name }, ports: [`127.0.0.1:${p.ports[at]}:5000`] });
    health_wait(container, #{ path: "/" });
    targets.push(#{ name: name, container: container, weight: 1 - at });
}
traffic_set(p.service, targets);
"#;

const SWITCH: &str = r#"
let p = params(#{ service: required("string", ""), to: required("string", "") });
lock(p.service);
let state = traffic_switch(p.service, p.to);
for target in state.targets {
    if (target.weight > 0) != (target.name == p.to) { fail(`${target.name} has weight ${target.weight}`); }
}
"#;

const DRAIN: &str = r#"
let p = params(#{ service: required("string", ""), drained: required("string", "") });
lock(p.service);
let drained = traffic_drain(p.service, p.drained, #{ deadline: "20s" });
if drained.requests_cut + drained.streams_cut > 0 { fail(`${drained}`); }
"#;

/// Two containers of an app behind a route.
struct Site {
    docker: Docker,
    deployer: Deployer,
    service: String,
    public: SocketAddr,
    switch: String,
}

impl Site {
    fn new(public: SocketAddr, driver: &Value) -> Self {
        let (docker, deployer) = (Docker::new(), Deployer::docker());
        let folder = tempfile::tempdir().unwrap();
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/echo_app.py");
        std::fs::copy(app, folder.path().join("app.py")).unwrap();
        let recipe = "FROM python:3.11-slim\nCOPY app.py /app.py\nCMD [\"python3\", \"-u\", \"/app.py\"]\n";
        std::fs::write(folder.path().join("Dockerfile"), recipe).unwrap();
        let image = docker.build(folder.path(), "echo", "v1");
        let start = deployer.file("start.rhai", &START.replace("DRIVER", &driver.to_string()));
        let switch = deployer.file("switch.rhai", SWITCH);
        let service = format!("service={}", docker.name("echo"));
        let (image, address) = (format!("image={image}"), format!("address={public}"));
        let ports = format!("ports=[{}, {}]", free_port(), free_port());
        deployer.run(&start, &["--set", &service, "--set", &image, "--set", &address, "--set", &ports]).ok();
        Self { docker, deployer, service, public, switch }
    }

    fn switch(&self, to: &str) {
        self.deployer.run(&self.switch, &["--set", &self.service, "--set", &format!("to={to}")]).ok();
    }

    /// Kills a cutover and resumes it. Returns false if the run ended before the kill.
    fn kill_and_resume(&self, to: &str, kill: Kill) -> bool {
        let to = format!("to={to}");
        let args =
            ["run", &self.switch, "--engine", "docker", "--format", "json", "--set", &self.service, "--set", &to];
        let command = match kill {
            Kill::Before(entry) => self.deployer.crashing_command(&args, &format!("before:{entry}")),
            Kill::After(_) => self.deployer.command(&args),
        };
        let mut run = WatchedRun::start(command);
        match kill {
            Kill::Before(_) => drop(run.until_stopped()),
            Kill::After(ms) => {
                run.until_intended("traffic_switch");
                // Not a wait for a condition: the delay chooses the moment of the kill.
                std::thread::sleep(Duration::from_millis(ms));
            }
        }
        let killed = run.kill().code != 0;
        if killed {
            self.deployer.call(&["resume"]).ok();
        }
        killed
    }

    /// Drains green, after the last cutover to blue: waits for its slow responses and its streams.
    fn drain(&self) {
        let script = self.deployer.file("drain.rhai", DRAIN);
        self.deployer.run(&script, &["--set", &self.service, "--set", "drained=green"]).ok();
        assert_eq!(self.docker.containers(false).len(), 2, "both containers still run");
    }
}

/// Cuts over this many times under load, and returns the counts of the load.
fn cut_over(name: &str, public: SocketAddr, driver: &Value, times: usize, load: fn(SocketAddr) -> Load) -> Counts {
    let site = Site::new(public, driver);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let load = runtime.block_on(async { load(site.public) });
    let (mut killed, mut attempts, start) = (0, 0, Instant::now());
    for number in 0..times {
        let before = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        if killed < (number + 1) / KILL_ONE_IN {
            killed += usize::from(site.kill_and_resume(to, KILLS[attempts % KILLS.len()]));
            attempts += 1;
        } else {
            site.switch(to);
        }
        let response = runtime.block_on(async_http::send(site.public, async_http::get("/"))).unwrap();
        assert_eq!(response.text, to);
        support::until("more responses", || (load.answered() >= before + RESPONSES_BETWEEN).then_some(()));
    }
    let took = start.elapsed();
    let finishing = runtime.spawn(load.finish());
    site.drain();
    let counts = std::sync::Arc::into_inner(runtime.block_on(finishing).unwrap()).unwrap();
    println!("{name}: {times} cutovers in {took:.0?}, {killed} of them killed and resumed; {}", summary(&counts));
    for failure in counts.failures.lock().unwrap().iter().take(5) {
        println!("  {failure}");
    }
    assert!(killed + 1 >= times / KILL_ONE_IN, "only {killed} were killed");
    counts
}

fn summary(counts: &Counts) -> String {
    let of = |what: &str, count: &AtomicU64| format!("{} of {}", counts.failed(what), sent(what, count, counts));
    format!(
        "failed of new connections {}, of posts on kept-alive connections {}, of slow answers {}, of HTTP/2 {}; streams cut {} \
         ({} echoes)",
        of("new connection", &counts.requests),
        of("post", &counts.posts),
        of("slow answer", &counts.slow),
        of("http/2", &counts.http2),
        counts.failed("echo") + counts.failed("upgrade"),
        counts.echoes.load(Ordering::SeqCst),
    )
}

/// Returns the number of requests of a kind that were sent.
fn sent(what: &str, answered: &AtomicU64, counts: &Counts) -> u64 {
    answered.load(Ordering::SeqCst) + counts.failed(what) as u64
}

#[track_caller]
fn assert_none_failed(counts: &Counts) {
    let failures = counts.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.total(), failures.first());
}

#[test]
fn a_hundred_cutovers_behind_the_proxy_fail_no_request_and_cut_none() {
    let proxy = ProxyProcess::start();
    let driver = json!({"kind": "proxy", "control": proxy.control()});
    let public: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    assert_none_failed(&cut_over("proxy", public, &driver, 100, |to| Load::start(to, SLOW_MS, true)));
}

#[test]
fn a_hundred_cutovers_behind_haproxy_fail_no_request_and_cut_none() {
    let program = Program::start(Kind::Haproxy);
    let mut driver = program.driver();
    driver["backend"] = json!("web");
    assert_none_failed(&cut_over("haproxy", program.address, &driver, 100, |to| Load::start_http1(to, SLOW_MS, true)));
}

/// Old workers close the connections that are idle at that moment. Nothing else is affected.
#[test]
fn twenty_cutovers_behind_nginx_fail_only_posts_on_idle_connections() {
    let program = Program::start(Kind::Nginx);
    let counts = cut_over("nginx", program.address, &program.driver(), 20, |to| Load::start_http1(to, SLOW_MS, true));
    for kind in ["new connection", "slow answer", "upgrade", "echo"] {
        assert_eq!(counts.failed(kind), 0, "{kind}");
    }
    assert_few_failed(&counts, "post", &counts.posts, 100);
}

/// Caddy reopens its port. Connections in the old accept queue are reset, and so are streams and idle connections.
#[test]
fn twenty_cutovers_behind_caddy_fail_a_few_requests_and_cut_streams() {
    let program = Program::start(Kind::Caddy);
    let counts = cut_over("caddy", program.address, &program.driver(), 20, |to| Load::start_http1(to, SLOW_MS, true));
    assert_few_failed(&counts, "new connection", &counts.requests, 20);
    assert_few_failed(&counts, "post", &counts.posts, 20);
    assert_few_failed(&counts, "slow answer", &counts.slow, 5);
    assert!(counts.failed("echo") > 0, "Caddy now keeps streams: update docs/src/traffic.md");
    let failures = counts.failures.lock().unwrap();
    assert!(failures.iter().all(|failure| !failure.contains("status")), "every accepted request succeeds");
}

/// Asserts that at most one in `one_in` requests of a kind failed.
#[track_caller]
fn assert_few_failed(counts: &Counts, what: &str, answered: &AtomicU64, one_in: u64) {
    let (failed, total) = (counts.failed(what) as u64, sent(what, answered, counts));
    assert!(failed * one_in <= total, "{what}: {failed} of {total}");
}
