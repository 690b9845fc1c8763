//! Deploys that must fail: the complete error message, the exit code, and the live service, which must not change.

use crate::support;

use std::net::TcpListener;

use insta::assert_snapshot;
use support::deployer::{Deployer, Finished};
use support::manual_app::ManualApp;
use support::small_disk::SmallDisk;
use support::snapshot::normalize;

/// Returns the error message and everything after it, without the parts that differ between runs.
fn message(app: &ManualApp, finished: &Finished) -> String {
    let (port, green) = (app.port.to_string(), app.green_port.to_string());
    let known = [
        (app.deployer.home().to_str().unwrap(), "HOME"),
        (app.service.as_str(), "SERVICE"),
        (app.volume.as_str(), "VOLUME"),
        (port.as_str(), "PORT"),
        (green.as_str(), "GREEN_PORT"),
    ];
    let text = normalize(&finished.stderr, &known);
    let message = text.lines().skip_while(|line| !line.contains("deployer::"));
    message.map(without_line_numbers).collect::<Vec<_>>().join("\n")
}

/// Removes the line numbers of the shipped scripts, which change with every edit, and the margin that they determine.
fn without_line_numbers(line: &str) -> String {
    let margin_end = line.find(|c: char| !c.is_ascii_digit() && c != ' ').unwrap_or(line.len());
    let line = match &line[margin_end..] {
        code if code.starts_with(['│', '·', '╭', '╰']) => code,
        _ => line,
    };
    match (line.starts_with("╭─["), line.split_once(':')) {
        (true, Some((file, _))) => format!("{file}]"),
        _ => line.to_owned(),
    }
}

/// Deploys `image` over version 1, and asserts that the deploy fails and that the live service is unchanged.
#[track_caller]
fn failed_deploy(app: &ManualApp, image: &str, change: impl Fn(String) -> String) -> String {
    let before = app.fingerprint();
    let config = change(app.config(image));
    let finished = app.deployer.deploy("bluegreen.rhai", &config).code(1);
    assert_eq!(app.fingerprint(), before, "the live service is unchanged");
    message(app, &finished)
}

fn with_short_timeout(config: String) -> String {
    config.replace("timeout = \"20s\"", "timeout = \"2s\"")
}

#[test]
fn a_missing_image() {
    let app = ManualApp::with_v1();
    let image = format!("{}:v9", app.service);
    assert_snapshot!(failed_deploy(&app, &image, |config| config), @r#"
    deployer::script::failed

      × there is no image '[SERVICE]:v9'
    ╭─[bluegreen.rhai]
    │     preflight::port(green_port, "green_port");
    │     if p.build == () { preflight::image(image); }
    ·                                   ──┬──
    ·                                     ╰── in the call to `image`
    │ }
    ╰────
      help: pull it: docker pull [SERVICE]:v9; or set 'build' to a folder to build it from

    Advice: deployer::script::below

      ☞ in module `std/preflight`
    ╭─[std/preflight]
    │     if docker_images(name) == [] {
    │         fail(`there is no image '${name}'`, `pull it: docker pull ${name}; or set 'build' to a folder to build it from`);
    ·         ──┬─
    ·           ╰── here
    │     }
    ╰────
    end   failed before anything was changed (TIME)
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_port_in_use() {
    let app = ManualApp::with_v1();
    let _holder = TcpListener::bind(("0.0.0.0", app.green_port)).unwrap();
    assert_snapshot!(failed_deploy(&app, &app.release("v2", ""), |config| config), @r#"
    deployer::script::failed

      × port [GREEN_PORT] is in use by another process
    ╭─[bluegreen.rhai]
    │     }
    │     preflight::port(green_port, "green_port");
    ·                ──┬─
    ·                  ╰── in the call to `port`
    │     if p.build == () { preflight::image(image); }
    ╰────
      help: choose another port: --set green_port=...

    Advice: deployer::script::below

      ☞ in module `std/preflight`
    ╭─[std/preflight]
    │     let holder = if state.container == () { "another process" } else { `container '${state.container}'` };
    │     fail(`port ${port} is in use by ${holder}`, `choose another port: --set ${parameter}=...`);
    ·     ──┬─
    ·       ╰── here
    │ }
    ╰────
    end   failed before anything was changed (TIME)
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_container_name_in_use() {
    let app = ManualApp::with_v1();
    let v2 = app.release("v2", "");
    app.docker.cli(&["create", "--name", &format!("{}-green", app.service), &v2]);
    assert_snapshot!(failed_deploy(&app, &v2, |config| config), @r#"
    deployer::script::failed

      × container '[SERVICE]-green' already exists and was not created by deployer
    ╭─[bluegreen.rhai]
    │     announce::start_and_end(p.notify, service, image);
    │     release::sweep(service, [green_name, next_name]);
    ·              ──┬──
    ·                ╰── in the call to `sweep`
    │     preflight::memory(p.memory_mb);
    ╰────
      help: inspect it: docker inspect [SERVICE]-green

    Advice: deployer::script::below

      ☞ in module `std/release`
    ╭─[std/release]
    │         if left.labels.get("deployer.service") != service {
    │             fail(`container '${name}' already exists and was not created by deployer`, `inspect it: docker inspect ${name}`);
    ·             ──┬─
    ·               ╰── here
    │         }
    ╰────
    end   failed before anything was changed (TIME)
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn an_app_that_never_becomes_healthy() {
    let app = ManualApp::with_v1();
    assert_snapshot!(failed_deploy(&app, &app.release("v2", "ENV HEALTH=503"), with_short_timeout), @r#"
    deployer::effect

      × `[SERVICE]-green` was not healthy within TIME; last answer: 503 Service Unavailable
    │ manual-generator v2: listening on port 5000
    ╭─[bluegreen.rhai]
    │ step "Check green" {
    │     cutover::healthy(green, p.health, p.container_port);
    ·              ───┬───
    ·                 ╰── in the call to `healthy`
    │     database::prove(data, green);
    ╰────

    Advice: deployer::script::below

      ☞ in module `std/cutover`
    ╭─[std/cutover]
    │ fn healthy(container, health, port) {
    │     health_wait(container, health_check(health, port));
    ·     ─────┬─────
    ·          ╰── here
    │ }
    ╰────
    end   failed; all changes rolled back (TIME)
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn an_app_that_exits_at_start() {
    let app = ManualApp::with_v1();
    assert_snapshot!(failed_deploy(&app, &app.release("v2", "ENV EXIT_AT_START=3"), |config| config), @r#"
    deployer::effect

      × container `[SERVICE]-green` ended with exit code 3 during the wait
    │ manual-generator v2: cannot start: EXIT_AT_START is set
    ╭─[bluegreen.rhai]
    │ step "Check green" {
    │     cutover::healthy(green, p.health, p.container_port);
    ·              ───┬───
    ·                 ╰── in the call to `healthy`
    │     database::prove(data, green);
    ╰────
      help: read its last log lines, or start the same image by hand to see more

    Advice: deployer::script::below

      ☞ in module `std/cutover`
    ╭─[std/cutover]
    │ fn healthy(container, health, port) {
    │     health_wait(container, health_check(health, port));
    ·     ─────┬─────
    ·          ╰── here
    │ }
    ╰────
    end   failed; all changes rolled back (TIME)
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_damaged_database() {
    let app = ManualApp::with_v1();
    app.damage_database();
    assert_snapshot!(failed_deploy(&app, &app.release("v2", ""), |config| config), @r#"
    deployer::effect

      × database `[VOLUME]:manual_generator.db` is damaged
    │ database disk image is malformed
    ╭─[bluegreen.rhai]
    │ step "Start green beside blue" {
    │     data = database::prepare(p, image, blue); // chooses the mode, and copies the data if the mode needs it
    ·                      ───┬───
    ·                         ╰── in the call to `prepare`
    │     let ports = [`${p.green_address}:${green_port}:${p.container_port}`];
    ╰────

    Advice: deployer::script::below

      ☞ in module `std/database`
    ╭─[std/database]
    │     }
    │     let state = migration::check(db, db.volume);
    ·                            ──┬──
    ·                              ╰── in the call to `check`
    │     let users = if state != () && state.exists { sqlite_writers(db.path, migration::place(db, db.volume)) };
    ╰────

    Advice: deployer::script::below

      ☞ in module `std/migration`
    ╭─[std/migration]
    │     options.full = db.verify == "full";
    │     sqlite_check(db.path, options)
    ·     ──────┬─────
    ·           ╰── here
    │ }
    ╰────
    end   failed before anything was changed (TIME)
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_state_folder_on_a_full_disk() {
    let mut app = ManualApp::with_v1();
    let disk = SmallDisk::mount(app.deployer.home());
    disk.fill();
    let before = app.fingerprint();
    let v2 = app.release("v2", "");
    let deployer = Deployer::docker().state_in(&disk.0.join("state"));
    let previous = std::mem::replace(&mut app.deployer, deployer);
    let finished = app.deploy(&v2).code(2);
    assert_eq!(app.fingerprint(), before, "the live service is unchanged");
    let text = message(&app, &finished).replace(previous.home().to_str().unwrap(), "[DISK]");
    assert_snapshot!(text, @"
    deployer::journal::folder

      × the state folder `[DISK]/small/state` cannot be written: database or disk is full
      help: nothing is deployed without a journal; free disk space and check the permissions, or use `--state DIR`
    ");
}
