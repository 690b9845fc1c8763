//! `bluegreen.rhai` and `rollback.rhai` on real Docker behind the embedded proxy: no visitor notices anything, whatever
//! happens to the deploy. Behind nginx, HAProxy and Caddy: the same promotion, and the same way back.

mod support;

#[allow(dead_code, reason = "shared with the tests of the drivers")]
#[path = "traffic/program.rs"]
mod program;

use std::time::Duration;

use program::{Kind, Program};
use support::apps;
use support::proxy_process::ProxyProcess;
use support::scene::Scene;
use support::sweep::{Way, entries, points, sweep};
use support::visitor::Visitor;
use support::{deadline, ports};

const RATE: u32 = 60;

/// A service behind a proxy, with version 1 deployed.
fn routed() -> (ProxyProcess, Scene) {
    let proxy = ProxyProcess::start();
    let mut scene = Scene::new();
    scene.tables = proxy.table();
    let image = apps::manual(&scene.docker, "v1");
    scene.deploy(&image).ok();
    scene.serves_alone("v1");
    (proxy, scene)
}

fn run_text(scene: &Scene, script: &str) -> support::deployer::Finished {
    let file = scene.deployer.file("by-hand.rhai", script);
    scene.deployer.call(&["run", &file])
}

#[test]
fn the_proved_container_itself_is_promoted_and_nobody_notices() {
    let (_proxy, scene) = routed();
    let visitor = Visitor::start(scene.port, "/health", RATE);
    for version in ["v2", "v3"] {
        let image = apps::manual(&scene.docker, version);
        scene.deploy(&image).ok();
        scene.serves_alone(version);
        let proved = scene.docker.inspect(&scene.service)["Name"].as_str().unwrap().to_owned();
        assert_eq!(proved, format!("/{}", scene.service));
    }
    let made = scene.deployer.latest_effects();
    let runs = made.iter().filter(|effect| effect.contains("docker_run") || effect.contains("docker_create")).count();
    assert_eq!(runs, 1, "one container a deploy: {made:?}");

    let service = format!("service={}", scene.service);
    for version in ["v2", "v3"] {
        let args = ["--set", &service, "--set", "health.path=/health", "--set", "bake=1s"];
        let rolled_back = scene.deployer.run("rollback.rhai", &args).ok();
        assert!(!rolled_back.said().contains("warn"), "{}", rolled_back.said());
        scene.serves_alone(version);
    }

    let seen = visitor.finish();
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["v1", "v2", "v3"]);

    let status = scene.deployer.call(&["status", &scene.service]).ok();
    assert!(status.said().contains(&format!("0.0.0.0:{} by proxy", scene.port)), "{}", status.said());
}

#[test]
fn a_version_that_dies_while_the_old_one_is_warm_is_taken_back_by_a_switch() {
    let (_proxy, mut scene) = routed();
    scene.tables = scene.tables.replace("keep_warm = \"1s\"", "keep_warm = \"60s\"");
    let visitor = Visitor::start(scene.port, "/health", RATE);
    let image = apps::manual(&scene.docker, "v2");
    let running = scene.start_deploy(&image);
    support::until("v2 to serve", || visitor.look().versions.contains_key("v2").then_some(()));
    scene.docker.cli(&["kill", &format!("{}-green", scene.service)]);
    running.wait().code(1);
    scene.serves_alone("v1");
    let seen = visitor.finish();
    // A connection that the app had taken when it was killed cannot be saved; every one after that can.
    assert!(seen.failed <= 3, "{seen:?}");
}

#[test]
fn what_a_route_refers_to_cannot_be_taken_down() {
    let (mut proxy, scene) = routed();
    let before = scene.fingerprint();
    let service = &scene.service;
    for script in [
        format!("docker_stop(\"{service}\");"),
        format!("docker_kill(\"{service}\");"),
        format!("docker_remove(\"{service}\", #{{force: true}});"),
    ] {
        run_text(&scene, &script).code(1).says("still refers to container");
    }
    proxy.kill();
    run_text(&scene, &format!("docker_stop(\"{service}\");")).code(1).says("deployer proxy run");
    // A proxy that does not answer holds up nobody else.
    let bystander = format!("{service}-bystander");
    scene.docker.cli(&["run", "-d", "--name", &bystander, "python:3.11-slim", "sleep", "60"]);
    run_text(&scene, &format!("docker_remove(\"{bystander}\", #{{force: true}});")).ok();
    proxy.restart();
    assert_eq!(scene.fingerprint(), before);
    run_text(&scene, &format!("traffic_forget(\"{service}\"); docker_stop(\"{service}\");")).ok();
}

#[test]
fn without_a_proxy_or_its_port_nothing_is_changed() {
    let (mut proxy, scene) = routed();
    let image = apps::manual(&scene.docker, "v2");
    proxy.kill();
    scene.deploy(&image).code(1).says("no proxy answers").says("deployer proxy run");
    assert_eq!(scene.docker.containers(true), ["manual"]);
    proxy.restart();
    scene.serves_alone("v1");

    // A service whose container has the public port itself cannot be put behind a route on that port.
    let mut other = Scene::with_v1();
    other.tables = proxy.table();
    let image = apps::manual(&other.docker, "v2");
    other.deploy(&image).code(1).says("has the public port").says("deployer run take_port.rhai");
    other.serves_alone("v1");
}

#[test]
fn the_public_port_goes_from_the_container_to_the_proxy_and_the_next_deploy_has_no_gap() {
    let proxy = ProxyProcess::start();
    let mut scene = Scene::with_v1();
    let (service, port) = (format!("service={}", scene.service), format!("port={}", scene.port));
    let green = format!("green_port={}", scene.green_port);
    let control = format!("traffic.options.control={}", proxy.control().display());
    let sets = [&service, &port, &green, &control, "health.path=/health", "bake=500ms"];
    let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    scene.deployer.run("take_port.rhai", &args).ok();
    scene.serves_alone("v1");
    let status = scene.deployer.call(&["status", &scene.service]).ok();
    assert!(status.said().contains(&format!("0.0.0.0:{} by proxy", scene.port)), "{}", status.said());
    scene.deployer.run("take_port.rhai", &args).code(1).says("does not publish port");

    scene.tables = proxy.table();
    let visitor = Visitor::start(scene.port, "/health", RATE);
    let image = apps::manual(&scene.docker, "v2");
    scene.deploy(&image).ok();
    scene.serves_alone("v2");
    let seen = visitor.finish();
    assert_eq!(seen.failed, 0, "{seen:?}");
}

#[test]
fn killed_at_any_entry_it_is_resumed_and_no_visitor_notices() {
    let (_proxy, mut scene) = routed();
    let all = points(entries(&mut scene, "v2"), 5);
    let killed = sweep(&mut scene, Way::Resume, &all, 2);
    assert!(killed * 10 >= all.len() * 9, "{killed} of {}", all.len());
}

#[test]
fn killed_at_any_entry_it_is_aborted_and_no_visitor_notices() {
    let (_proxy, mut scene) = routed();
    let all = points(entries(&mut scene, "v2"), 5);
    let killed = sweep(&mut scene, Way::Abort, &all, 2);
    assert!(killed * 10 >= all.len() * 9, "{killed} of {}", all.len());
}

#[test]
fn a_proxy_that_is_killed_and_started_again_serves_as_before() {
    let (mut proxy, scene) = routed();
    proxy.kill();
    proxy.restart();
    scene.serves_alone("v1");
    let visitor = Visitor::start(scene.port, "/health", RATE);
    let image = apps::manual(&scene.docker, "v2");
    scene.deploy(&image).ok();
    scene.serves_alone("v2");
    let seen = visitor.finish();
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert!(seen.slowest < Duration::from_secs(10), "{seen:?}");
}

/// The proved container is promoted; the old one stays warm, and the way back to it is a switch.
fn promotes_and_goes_back(kind: Kind) {
    let program = Program::start(kind);
    let mut scene = Scene::new();
    scene.port = program.address.port();
    scene.tables = program.table();
    for version in ["v1", "v2"] {
        let visitor = (version == "v2").then(|| Visitor::start(scene.port, "/health", RATE));
        let image = apps::manual(&scene.docker, version);
        scene.deploy(&image).ok();
        scene.serves_alone(version);
        if let Some(seen) = visitor.map(Visitor::finish) {
            // Caddy resets who comes while it opens its port anew: docs/traffic.md.
            assert!(seen.failed * 20 <= if kind == Kind::Caddy { seen.sent } else { 0 }, "{seen:?}");
        }
    }
    let made = scene.deployer.latest_effects();
    let runs = made.iter().filter(|effect| effect.contains("docker_run") || effect.contains("docker_create")).count();
    assert_eq!(runs, 1, "one container a deploy: {made:?}");

    let before = scene.fingerprint();
    scene.tables = scene.tables.replace("keep_warm = \"1s\"", "keep_warm = \"60s\"");
    let image = apps::manual(&scene.docker, "v3");
    let running = scene.start_deploy(&image);
    support::until("v3 to serve", || {
        support::http::get(scene.port, "/health").is_ok_and(|answer| answer.version == "v3").then_some(())
    });
    scene.docker.cli(&["kill", &format!("{}-green", scene.service)]);
    running.wait().code(1);
    assert_eq!(scene.fingerprint(), before, "the very container that there was");
    let name = scene.service.clone();
    run_text(&scene, &format!("traffic_forget(\"{name}\");")).ok();
}

#[test]
fn nginx_promotes_and_goes_back() {
    promotes_and_goes_back(Kind::Nginx);
}

#[test]
fn haproxy_promotes_and_goes_back() {
    promotes_and_goes_back(Kind::Haproxy);
}

#[test]
fn caddy_promotes_and_goes_back() {
    promotes_and_goes_back(Kind::Caddy);
}

/// The recipe that is shipped, with the base image that there is: it serves, and the next container takes over.
#[test]
fn the_proxy_in_a_container_hands_over_to_the_next_one() {
    let (docker, deployer) = (support::docker::Docker::new(), support::deployer::Deployer::docker());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_deployer"), folder.path().join("deployer")).unwrap();
    let recipe = std::fs::read_to_string(apps::example("proxy").join("Dockerfile")).unwrap();
    let base = "FROM debian:12-slim\n";
    assert!(recipe.contains(base), "{recipe}");
    std::fs::write(folder.path().join("Dockerfile"), recipe.replace(base, "FROM python:3.11-slim\n")).unwrap();
    let image = docker.build(folder.path(), "proxy", "v1");
    let shared = tempfile::tempdir().unwrap();
    let control = shared.path().join("proxy.sock");
    let (run, state) = (format!("{}:/run/deployer", shared.path().display()), docker.name("proxy-state"));
    let state = format!("{state}:/var/lib/deployer");
    let start = |name: &str| {
        let name = docker.name(name);
        let args =
            ["run", "-d", "--name", &name, "--network", "host", "--stop-timeout", "70", "-v", &run, "-v", &state];
        docker.cli(&[&args[..], &[image.as_str()]].concat());
        name
    };
    let first = start("first");
    support::until("the proxy", || std::os::unix::net::UnixStream::connect(&control).ok());
    let app = Program::start(Kind::Nginx);
    std::fs::write(app.path("conf.d/own.conf"), format!("server {{ listen {}; return 204; }}\n", app.address)).unwrap();
    let nginx = app.nginx(&["-s", "reload"]);
    assert!(std::process::Command::new(&nginx[0]).args(&nginx[1..]).status().unwrap().success());
    let port = ports::free_port();
    let script = format!(
        "let web = \"{}\";\nlock(web);\n\
         traffic_route(#{{service: web, address: \"127.0.0.1:{port}\", driver: #{{kind: \"proxy\", control: \"{}\"}}}});\n\
         traffic_set(web, [#{{name: \"app\", address: \"{}\"}}]);\n",
        docker.name("web"),
        control.display(),
        app.address,
    );
    deployer.run(&deployer.file("serve.rhai", &script), &[]).ok();
    let visitor = Visitor::start(port, "/", RATE);
    start("second");
    support::until("the end of the first", || (docker.inspect(&first)["State"]["Running"] == false).then_some(()));
    // Whoever steers it now speaks to the second.
    deployer.run(&deployer.file("serve.rhai", &script), &[]).ok();
    let seen = visitor.finish();
    assert_eq!((seen.failed, docker.inspect(&first)["State"]["ExitCode"].as_i64()), (0, Some(0)), "{seen:?}");
}
