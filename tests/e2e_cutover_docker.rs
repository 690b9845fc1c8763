//! Cut-overs between two real containers behind each driver, each a run of deployer of its own and a fifth of them killed,
//! while everybody visits at once: new connections, posts on kept ones, WebSockets, answers of five seconds, HTTP/2.
//! Behind the embedded proxy and HAProxy no request fails, and none is cut; behind nginx and Caddy, what their reloads
//! cost (docs/traffic.md).

mod support;

#[allow(dead_code, reason = "shared with the tests of the drivers")]
#[path = "proxy/load.rs"]
mod load;
#[allow(dead_code, reason = "shared with the tests of the drivers")]
#[path = "traffic/program.rs"]
mod program;
#[allow(dead_code, reason = "shared with the tests of the proxy alone")]
#[path = "proxy/visit.rs"]
mod visit;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use load::{Counts, Load};
use program::{Kind, Program};
use serde_json::{Value, json};
use support::deployer::Deployer;
use support::docker::Docker;
use support::ports::free_port;
use support::proxy_process::ProxyProcess;
use support::watched_run::WatchedRun;
use support::{deadline, ports};

const SLOW_MS: u64 = 5_000;
/// Between two of them.
const ANSWERS_BETWEEN: u64 = 30;
/// Of so many cut-overs, one is killed.
const OF_WHICH_KILLED: usize = 5;
/// Where, in turn: before an entry of its journal, or so many milliseconds after the driver was told.
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
    Before(usize),
    After(u64),
}

const BEGIN: &str = r#"
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
let standing = traffic_switch(p.service, p.to);
for target in standing.targets {
    if (target.weight > 0) != (target.name == p.to) { fail(`${target.name} has weight ${target.weight}`); }
}
"#;

const END: &str = r#"
let p = params(#{ service: required("string", ""), drained: required("string", "") });
lock(p.service);
let drained = traffic_drain(p.service, p.drained, #{ deadline: "20s" });
if drained.requests_cut + drained.streams_cut > 0 { fail(`${drained}`); }
"#;

/// Two containers of one app behind a route, and what deployer is told about them.
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
        let begin = deployer.file("begin.rhai", &BEGIN.replace("DRIVER", &driver.to_string()));
        let switch = deployer.file("switch.rhai", SWITCH);
        let service = format!("service={}", docker.name("echo"));
        let (image, address) = (format!("image={image}"), format!("address={public}"));
        let ports = format!("ports=[{}, {}]", free_port(), free_port());
        deployer.run(&begin, &["--set", &service, "--set", &image, "--set", &address, "--set", &ports]).ok();
        Self { docker, deployer, service, public, switch }
    }

    fn switch(&self, to: &str) {
        self.deployer.run(&self.switch, &["--set", &self.service, "--set", &format!("to={to}")]).ok();
    }

    /// Whether it was killed: it may have come to its end before that.
    fn kill_and_resume(&self, to: &str, kill: Kill) -> bool {
        let to = format!("to={to}");
        let args =
            ["run", &self.switch, "--engine", "docker", "--format", "json", "--set", &self.service, "--set", &to];
        let mut command = self.deployer.command(&args);
        if let Kill::Before(entry) = kill {
            command.env("DEPLOYER_HALT_AT_ENTRY", format!("before:{entry}"));
        }
        let mut run = WatchedRun::start(command);
        match kill {
            Kill::Before(_) => drop(run.until_stopped()),
            Kill::After(ms) => {
                run.until_intended("traffic_switch");
                // Nothing is waited for: it is the moment of the kill that is chosen.
                std::thread::sleep(Duration::from_millis(ms));
            }
        }
        let killed = run.kill().code != 0;
        if killed {
            self.deployer.call(&["resume"]).ok();
        }
        killed
    }

    /// Blue has the last word; green's slow answers and its streams are waited for.
    fn drain(&self) {
        let end = self.deployer.file("end.rhai", END);
        self.deployer.run(&end, &["--set", &self.service, "--set", "drained=green"]).ok();
        assert_eq!(self.docker.containers(false).len(), 2, "both are as well as they were");
    }
}

/// So many cut-overs under load, and what visitors noticed.
fn cut_over(name: &str, public: SocketAddr, driver: &Value, cut_overs: usize, load: fn(SocketAddr) -> Load) -> Counts {
    let site = Site::new(public, driver);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let load = runtime.block_on(async { load(site.public) });
    let (mut killed, mut tried, begun) = (0, 0, Instant::now());
    for number in 0..cut_overs {
        let before = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        if killed < (number + 1) / OF_WHICH_KILLED {
            killed += usize::from(site.kill_and_resume(to, KILLS[tried % KILLS.len()]));
            tried += 1;
        } else {
            site.switch(to);
        }
        let visited = runtime.block_on(visit::visit(site.public, visit::get("/"))).unwrap();
        assert_eq!(visited.text, to);
        support::until("visitors to be answered", || (load.answered() >= before + ANSWERS_BETWEEN).then_some(()));
    }
    let took = begun.elapsed();
    let ending = runtime.spawn(load.end());
    site.drain();
    let counts = std::sync::Arc::into_inner(runtime.block_on(ending).unwrap()).unwrap();
    println!("{name}: {cut_overs} cut-overs in {took:.0?}, {killed} of them killed and resumed; {}", told(&counts));
    for failure in counts.failures.lock().unwrap().iter().take(5) {
        println!("  {failure}");
    }
    assert!(killed + 1 >= cut_overs / OF_WHICH_KILLED, "only {killed} were killed");
    counts
}

fn told(counts: &Counts) -> String {
    let of = |what: &str, count: &AtomicU64| format!("{} of {}", counts.failed(what), all(what, count, counts));
    format!(
        "failed of new connections {}, of posts on kept connections {}, of slow answers {}, of HTTP/2 {}; streams cut {} \
         ({} echoes)",
        of("new connection", &counts.requests),
        of("post", &counts.posts),
        of("slow answer", &counts.slow),
        of("http/2", &counts.second),
        counts.failed("echo") + counts.failed("upgrade"),
        counts.echoes.load(Ordering::SeqCst),
    )
}

/// Of those that were sent.
fn all(what: &str, answered: &AtomicU64, counts: &Counts) -> u64 {
    answered.load(Ordering::SeqCst) + counts.failed(what) as u64
}

#[track_caller]
fn none_failed(counts: &Counts) {
    let failures = counts.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.all(), failures.first());
}

#[test]
fn a_hundred_behind_the_proxy_fail_no_request_and_cut_none() {
    let proxy = ProxyProcess::start();
    let driver = json!({"kind": "proxy", "control": proxy.control()});
    let public: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    none_failed(&cut_over("proxy", public, &driver, 100, |to| Load::start(to, SLOW_MS, true)));
}

#[test]
fn a_hundred_behind_haproxy_fail_no_request_and_cut_none() {
    let program = Program::start(Kind::Haproxy);
    let mut driver = program.driver();
    driver["backend"] = json!("web");
    none_failed(&cut_over("haproxy", program.address, &driver, 100, |to| Load::start_first(to, SLOW_MS, true)));
}

/// Old workers close the connections that are idle just then; nothing else is touched.
#[test]
fn twenty_behind_nginx_fail_at_most_posts_on_connections_that_were_idle() {
    let program = Program::start(Kind::Nginx);
    let counts = cut_over("nginx", program.address, &program.driver(), 20, |to| Load::start_first(to, SLOW_MS, true));
    for kind in ["new connection", "slow answer", "upgrade", "echo"] {
        assert_eq!(counts.failed(kind), 0, "{kind}");
    }
    few(&counts, "post", &counts.posts, 100);
}

/// The port is opened anew, and whoever waits in the old queue is reset; so are streams, and connections that are idle.
#[test]
fn twenty_behind_caddy_fail_a_few_and_cut_streams() {
    let program = Program::start(Kind::Caddy);
    let counts = cut_over("caddy", program.address, &program.driver(), 20, |to| Load::start_first(to, SLOW_MS, true));
    few(&counts, "new connection", &counts.requests, 20);
    few(&counts, "post", &counts.posts, 20);
    few(&counts, "slow answer", &counts.slow, 5);
    assert!(counts.failed("echo") > 0, "Caddy has learned to keep streams: say so in docs/traffic.md");
    let failures = counts.failures.lock().unwrap();
    assert!(failures.iter().all(|failure| !failure.contains("status")), "whoever is heard is answered well");
}

/// At most one in so many.
#[track_caller]
fn few(counts: &Counts, what: &str, answered: &AtomicU64, one_in: u64) {
    let (failed, all) = (counts.failed(what) as u64, all(what, answered, counts));
    assert!(failed * one_in <= all, "{what}: {failed} of {all}");
}
