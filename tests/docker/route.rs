//! `bluegreen.rhai` and `rollback.rhai` on real Docker behind a route. Behind the embedded proxy, no request fails,
//! whatever happens to the deploy. Promotion and rollback also work behind nginx, HAProxy and Caddy.

use crate::support;

use std::time::Duration;

use support::apps;
use support::manual_app::ManualApp;
use support::ports;
use support::proxy_process::ProxyProcess;
use support::route_program::{Kind, Program};
use support::steady_client::SteadyClient;
use support::sweep::{Recovery, count_entries, crash_points, sweep};

const RATE: u32 = 60;

/// Deploys version 1 behind a new proxy.
fn app_behind_proxy() -> (ProxyProcess, ManualApp) {
    let proxy = ProxyProcess::start();
    let mut app = ManualApp::new();
    app.tables = proxy.table();
    let image = apps::manual_image(&app.docker, "v1");
    app.deploy(&image).ok();
    app.serves_alone("v1");
    (proxy, app)
}

fn run_script(app: &ManualApp, script: &str) -> support::deployer::Finished {
    let file = app.deployer.file("script.rhai", script);
    app.deployer.call(&["run", &file])
}

#[test]
fn the_checked_container_itself_is_promoted_and_no_request_fails() {
    let (_proxy, app) = app_behind_proxy();
    let client = SteadyClient::start(app.port, "/health", RATE);
    for version in ["v2", "v3"] {
        let image = apps::manual_image(&app.docker, version);
        app.deploy(&image).ok();
        app.serves_alone(version);
        let name = app.docker.inspect(&app.service)["Name"].as_str().unwrap().to_owned();
        assert_eq!(name, format!("/{}", app.service));
    }
    let effects = app.deployer.latest_effects();
    let runs =
        effects.iter().filter(|effect| effect.contains("docker_run") || effect.contains("docker_create")).count();
    assert_eq!(runs, 1, "one container per deploy: {effects:?}");

    let service = format!("service={}", app.service);
    for version in ["v2", "v3"] {
        let args = ["--set", &service, "--set", "health.path=/health", "--set", "bake=1s"];
        let rolled_back = app.deployer.run("rollback.rhai", &args).ok();
        assert!(!rolled_back.said().contains("warn"), "{}", rolled_back.said());
        app.serves_alone(version);
    }

    let report = client.finish();
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(report.versions.keys().collect::<Vec<_>>(), ["v1", "v2", "v3"]);

    let status = app.deployer.call(&["status", &app.service]).ok();
    assert!(status.said().contains(&format!("0.0.0.0:{} by proxy", app.port)), "{}", status.said());
}

#[test]
fn a_version_that_crashes_while_the_old_one_is_warm_is_rolled_back_with_a_switch() {
    let (_proxy, mut app) = app_behind_proxy();
    app.tables = app.tables.replace("keep_warm = \"1s\"", "keep_warm = \"60s\"");
    let client = SteadyClient::start(app.port, "/health", RATE);
    let image = apps::manual_image(&app.docker, "v2");
    let running = app.start_deploy(&image);
    support::until("v2 to serve", || client.report().versions.contains_key("v2").then_some(()));
    app.docker.cli(&["kill", &format!("{}-green", app.service)]);
    running.wait().code(1);
    app.serves_alone("v1");
    let report = client.finish();
    // The requests that the app was handling when it was killed are lost. All later ones succeed.
    assert!(report.failed <= 3, "{report:?}");
}

#[test]
fn a_container_of_a_route_cannot_be_stopped_or_removed() {
    let (mut proxy, app) = app_behind_proxy();
    let before = app.fingerprint();
    let service = &app.service;
    for script in [
        format!("docker_stop(\"{service}\");"),
        format!("docker_kill(\"{service}\");"),
        format!("docker_remove(\"{service}\", #{{force: true}});"),
    ] {
        run_script(&app, &script).code(1).says("still refers to container");
    }
    proxy.kill();
    run_script(&app, &format!("docker_stop(\"{service}\");")).code(1).says("deployer proxy run");
    // A proxy that does not respond does not block other containers.
    let bystander = format!("{service}-bystander");
    app.docker.cli(&["run", "-d", "--name", &bystander, "python:3.11-slim", "sleep", "60"]);
    run_script(&app, &format!("docker_remove(\"{bystander}\", #{{force: true}});")).ok();
    proxy.restart();
    assert_eq!(app.fingerprint(), before);
    run_script(&app, &format!("traffic_forget(\"{service}\"); docker_stop(\"{service}\");")).ok();
}

#[test]
fn without_a_proxy_or_its_port_nothing_changes() {
    let (mut proxy, app) = app_behind_proxy();
    let image = apps::manual_image(&app.docker, "v2");
    proxy.kill();
    app.deploy(&image).code(1).says("no proxy answers").says("deployer proxy run");
    assert_eq!(app.docker.current_containers(), ["manual"]);
    proxy.restart();
    app.serves_alone("v1");

    // A container that publishes the public port itself cannot be put behind a route on that port.
    let mut other = ManualApp::with_v1();
    other.tables = proxy.table();
    let image = apps::manual_image(&other.docker, "v2");
    other.deploy(&image).code(1).says("publishes the public port").says("deployer run take_port.rhai");
    other.serves_alone("v1");
}

#[test]
fn the_proxy_takes_over_the_public_port_and_no_request_of_the_next_deploy_fails() {
    let proxy = ProxyProcess::start();
    let mut app = ManualApp::with_v1();
    let (service, port) = (format!("service={}", app.service), format!("port={}", app.port));
    let green = format!("green_port={}", app.green_port);
    let control = format!("traffic.options.control={}", proxy.control().display());
    let sets = [&service, &port, &green, &control, "health.path=/health", "bake=500ms"];
    let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    app.deployer.run("take_port.rhai", &args).ok();
    app.serves_alone("v1");
    let status = app.deployer.call(&["status", &app.service]).ok();
    assert!(status.said().contains(&format!("0.0.0.0:{} by proxy", app.port)), "{}", status.said());
    app.deployer.run("take_port.rhai", &args).code(1).says("does not publish port");

    app.tables = proxy.table();
    let client = SteadyClient::start(app.port, "/health", RATE);
    let image = apps::manual_image(&app.docker, "v2");
    app.deploy(&image).ok();
    app.serves_alone("v2");
    let report = client.finish();
    assert_eq!(report.failed, 0, "{report:?}");
}

#[test]
fn no_request_fails_when_a_deploy_is_killed_at_any_entry_and_resumed() {
    let (_proxy, mut app) = app_behind_proxy();
    let points = crash_points(count_entries(&mut app, "v2"), 5);
    let killed = sweep(&mut app, Recovery::Resume, &points, 2);
    assert!(killed * 10 >= points.len() * 9, "{killed} of {}", points.len());
}

#[test]
fn no_request_fails_when_a_deploy_is_killed_at_any_entry_and_aborted() {
    let (_proxy, mut app) = app_behind_proxy();
    let points = crash_points(count_entries(&mut app, "v2"), 5);
    let killed = sweep(&mut app, Recovery::Abort, &points, 2);
    assert!(killed * 10 >= points.len() * 9, "{killed} of {}", points.len());
}

#[test]
fn a_proxy_that_is_killed_and_started_again_serves_as_before() {
    let (mut proxy, app) = app_behind_proxy();
    proxy.kill();
    proxy.restart();
    app.serves_alone("v1");
    let client = SteadyClient::start(app.port, "/health", RATE);
    let image = apps::manual_image(&app.docker, "v2");
    app.deploy(&image).ok();
    app.serves_alone("v2");
    let report = client.finish();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.slowest < Duration::from_secs(10), "{report:?}");
}

/// Asserts that the checked container is promoted, and that the old one stays warm, so that a rollback is a switch.
fn assert_promotes_and_rolls_back(kind: Kind) {
    let program = Program::start(kind);
    let mut app = ManualApp::new();
    app.port = program.address.port();
    app.tables = program.table();
    for version in ["v1", "v2"] {
        let client = (version == "v2").then(|| SteadyClient::start(app.port, "/health", RATE));
        let image = apps::manual_image(&app.docker, version);
        app.deploy(&image).ok();
        app.serves_alone(version);
        if let Some(report) = client.map(SteadyClient::finish) {
            // Caddy resets connections while it reopens its port: docs/src/traffic.md.
            assert!(report.failed * 20 <= if kind == Kind::Caddy { report.sent } else { 0 }, "{report:?}");
        }
    }
    let effects = app.deployer.latest_effects();
    let runs =
        effects.iter().filter(|effect| effect.contains("docker_run") || effect.contains("docker_create")).count();
    assert_eq!(runs, 1, "one container per deploy: {effects:?}");

    let before = app.fingerprint();
    app.tables = app.tables.replace("keep_warm = \"1s\"", "keep_warm = \"60s\"");
    let image = apps::manual_image(&app.docker, "v3");
    let running = app.start_deploy(&image);
    support::until("v3 to serve", || {
        support::http::get(app.port, "/health").is_ok_and(|answer| answer.version == "v3").then_some(())
    });
    app.docker.cli(&["kill", &format!("{}-green", app.service)]);
    running.wait().code(1);
    assert_eq!(app.fingerprint(), before, "the same container serves");
    let name = app.service.clone();
    run_script(&app, &format!("traffic_forget(\"{name}\");")).ok();
}

#[test]
fn nginx_promotes_and_rolls_back() {
    assert_promotes_and_rolls_back(Kind::Nginx);
}

#[test]
fn haproxy_promotes_and_rolls_back() {
    assert_promotes_and_rolls_back(Kind::Haproxy);
}

#[test]
fn caddy_promotes_and_rolls_back() {
    assert_promotes_and_rolls_back(Kind::Caddy);
}

/// The shipped Dockerfile, with the base image of the tests. The proxy serves, and the next container takes over.
#[test]
fn the_proxy_in_a_container_hands_over_to_the_next_one() {
    let (docker, deployer) = (support::docker::Docker::new(), support::deployer::Deployer::docker());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_deployer"), folder.path().join("deployer")).unwrap();
    let dockerfile = std::fs::read_to_string(apps::example("proxy").join("Dockerfile")).unwrap();
    let base = "FROM debian:12-slim\n";
    assert!(dockerfile.contains(base), "{dockerfile}");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile.replace(base, "FROM python:3.11-slim\n")).unwrap();
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
    std::fs::write(app.path("conf.d/app.conf"), format!("server {{ listen {}; return 204; }}\n", app.address)).unwrap();
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
    let client = SteadyClient::start(port, "/", RATE);
    start("second");
    support::until("the end of the first", || (docker.inspect(&first)["State"]["Running"] == false).then_some(()));
    // Commands now reach the second proxy.
    deployer.run(&deployer.file("serve.rhai", &script), &[]).ok();
    let report = client.finish();
    assert_eq!((report.failed, docker.inspect(&first)["State"]["ExitCode"].as_i64()), (0, Some(0)), "{report:?}");
}
