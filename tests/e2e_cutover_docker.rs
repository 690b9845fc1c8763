//! A hundred cut-overs between two real containers, each a run of deployer of its own and every fifth of them killed,
//! while everybody visits at once: new connections, posts on kept ones, WebSockets, answers of five seconds, HTTP/2.
//! No request fails, none is cut.

mod support;

#[allow(dead_code, reason = "shared with the tests of the drivers")]
#[path = "proxy/load.rs"]
mod load;
#[allow(dead_code, reason = "shared with the tests of the proxy alone")]
#[path = "proxy/visit.rs"]
mod visit;

use std::net::SocketAddr;
use std::path::Path;

use load::Load;
use support::deployer::Deployer;
use support::docker::Docker;
use support::ports::free_port;
use support::proxy_process::ProxyProcess;
use support::watched_run::WatchedRun;

const CUT_OVERS: usize = 100;
const SLOW_MS: u64 = 5_000;
/// Of a run that switches: at which of them it is killed goes round.
const ENTRIES: usize = 7;
/// Between two of them.
const ANSWERS_BETWEEN: u64 = 30;

const BEGIN: &str = r#"
let p = params(#{ service: required("string", ""), image: required("string", ""), address: required("string", ""),
    control: required("string", ""), ports: required("list", "") });
lock(p.service);
traffic_route(#{ service: p.service, address: p.address, driver: #{ kind: "proxy", control: p.control } });
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

#[test]
fn a_hundred_cut_overs_of_real_containers_fail_no_request_and_cut_none() {
    let (docker, deployer, proxy) = (Docker::new(), Deployer::docker(), ProxyProcess::start());
    let service = docker.name("echo");
    let folder = tempfile::tempdir().unwrap();
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/echo_app.py");
    std::fs::copy(app, folder.path().join("app.py")).unwrap();
    let recipe = "FROM python:3.11-slim\nCOPY app.py /app.py\nCMD [\"python3\", \"-u\", \"/app.py\"]\n";
    std::fs::write(folder.path().join("Dockerfile"), recipe).unwrap();
    let image = docker.build(folder.path(), "echo", "v1");
    let public: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let named = format!("service={service}");
    let script = |name: &str, text: &str| deployer.file(name, text);
    let (begin, switch, end) = (script("begin.rhai", BEGIN), script("switch.rhai", SWITCH), script("end.rhai", END));

    let set = [
        named.clone(),
        format!("image={image}"),
        format!("address={public}"),
        format!("control={}", proxy.control().display()),
        format!("ports=[{}, {}]", free_port(), free_port()),
    ];
    let set: Vec<&str> = set.iter().flat_map(|value| ["--set", value]).collect();
    deployer.run(&begin, &set).ok();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let load = runtime.block_on(async { Load::start(public, SLOW_MS, true) });
    let mut killed = 0;
    for number in 0..CUT_OVERS {
        let before = load.answered();
        let to = if number % 2 == 0 { "green" } else { "blue" };
        let target = format!("to={to}");
        let args = ["--set", named.as_str(), "--set", &target];
        if number % 5 == 4 {
            // Before each entry of the run in turn.
            killed += usize::from(kill_and_resume(&deployer, &switch, &args, 2 + (number / 5) % ENTRIES));
        } else {
            deployer.run(&switch, &args).ok();
        }
        let visited = runtime.block_on(visit::visit(public, visit::get("/"))).unwrap();
        assert_eq!(visited.text, to);
        support::until("visitors to be answered", || (load.answered() >= before + ANSWERS_BETWEEN).then_some(()));
    }
    assert!(killed >= CUT_OVERS / 10, "only {killed} were killed");

    // Blue has the last word; green's slow answers and its streams are waited for.
    let ending = runtime.spawn(load.end());
    deployer.run(&end, &["--set", &named, "--set", "drained=green"]).ok();
    let counts = runtime.block_on(ending).unwrap();
    let failures = counts.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), counts.all(), failures.first());
    println!("{CUT_OVERS} cut-overs, {killed} of them killed and resumed, {} answers, 0 failed", counts.all());
}

/// Whether it was killed: a run may have fewer entries than that.
fn kill_and_resume(deployer: &Deployer, script: &str, args: &[&str], entry: usize) -> bool {
    let mut all = vec!["run", script, "--engine", "docker", "--format", "json"];
    all.extend(args);
    let mut command = deployer.command(&all);
    command.env("DEPLOYER_HALT_AT_ENTRY", format!("before:{entry}"));
    let mut run = WatchedRun::start(command);
    if !run.until_stopped() {
        run.wait().code(0);
        return false;
    }
    run.kill();
    deployer.call(&["resume"]).ok();
    true
}
