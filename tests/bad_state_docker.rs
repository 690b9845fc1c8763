//! A world that is not as the deploy needs it: each message whole, the exit code, and the running service untouched.

mod support;

use std::net::TcpListener;

use insta::assert_snapshot;
use support::deployer::{Deployer, Finished};
use support::scene::Scene;
use support::small_disk::SmallDisk;
use support::snapshot::normal;

/// The error and what follows it, with what differs between runs taken out.
fn message(scene: &Scene, finished: &Finished) -> String {
    let (port, green) = (scene.port.to_string(), scene.green_port.to_string());
    let known = [
        (scene.deployer.home().to_str().unwrap(), "HOME"),
        (scene.service.as_str(), "SERVICE"),
        (scene.volume.as_str(), "VOLUME"),
        (port.as_str(), "PORT"),
        (green.as_str(), "GREEN_PORT"),
    ];
    let text = normal(&finished.stderr, &known);
    text.lines().skip_while(|line| !line.contains("deployer::")).collect::<Vec<_>>().join("\n")
}

/// Deploys `image` over version 1, which must fail and leave it as it was.
#[track_caller]
fn refused(scene: &Scene, image: &str, change: impl Fn(String) -> String) -> String {
    let before = scene.fingerprint();
    let config = change(scene.config(image));
    let finished = scene.deployer.deploy("bluegreen.rhai", &config).code(1);
    assert_eq!(scene.fingerprint(), before, "the running service is untouched");
    message(scene, &finished)
}

fn in_two_seconds(config: String) -> String {
    config.replace("timeout = \"20s\"", "timeout = \"2s\"")
}

#[test]
fn a_missing_image() {
    let scene = Scene::with_v1();
    let image = format!("{}:v9", scene.service);
    assert_snapshot!(refused(&scene, &image, |config| config), @r#"
    deployer::script::failed

      × there is no image '[SERVICE]:v9'
         ╭─[bluegreen.rhai:99:35]
      98 │     preflight::port(green_port, "green_port");
      99 │     if p.build == () { preflight::image(image); }
         ·                                   ──┬──
         ·                                     ╰── in the call of `image`
     100 │ }
         ╰────
      help: fetch it: docker pull [SERVICE]:v9; or give 'build' a folder to build it from

    Advice: deployer::script::below

      ☞ which came from `std/preflight`
        ╭─[std/preflight:28:9]
     27 │     if docker_images(name) == [] {
     28 │         fail(`there is no image '${name}'`, `fetch it: docker pull ${name}; or give 'build' a folder to build it from`);
        ·         ──┬─
        ·           ╰── here
     29 │     }
        ╰────
    end   failed before anything was changed, in TIME
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_taken_port() {
    let scene = Scene::with_v1();
    let _holder = TcpListener::bind(("0.0.0.0", scene.green_port)).unwrap();
    assert_snapshot!(refused(&scene, &scene.release("v2", ""), |config| config), @r#"
    deployer::script::failed

      × port [GREEN_PORT] is taken by another process
        ╭─[bluegreen.rhai:98:16]
     97 │     }
     98 │     preflight::port(green_port, "green_port");
        ·                ──┬─
        ·                  ╰── in the call of `port`
     99 │     if p.build == () { preflight::image(image); }
        ╰────
      help: choose another one with --set green_port=...

    Advice: deployer::script::below

      ☞ which came from `std/preflight`
        ╭─[std/preflight:22:5]
     21 │     let holder = if state.container == () { "another process" } else { `container '${state.container}'` };
     22 │     fail(`port ${port} is taken by ${holder}`, `choose another one with --set ${parameter}=...`);
        ·     ──┬─
        ·       ╰── here
     23 │ }
        ╰────
    end   failed before anything was changed, in TIME
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_taken_name() {
    let scene = Scene::with_v1();
    let v2 = scene.release("v2", "");
    scene.docker.cli(&["create", "--name", &format!("{}-green", scene.service), &v2]);
    assert_snapshot!(refused(&scene, &v2, |config| config), @r#"
    deployer::script::failed

      × container '[SERVICE]-green' is in the way, and deployer did not make it
        ╭─[bluegreen.rhai:91:14]
     90 │     announce::start_and_end(p.notify, service, image);
     91 │     release::sweep(service, [green_name, next_name]);
        ·              ──┬──
        ·                ╰── in the call of `sweep`
     92 │     preflight::memory(p.memory_mb);
        ╰────
      help: look at it: docker inspect [SERVICE]-green

    Advice: deployer::script::below

      ☞ which came from `std/release`
         ╭─[std/release:100:13]
      99 │         if left.labels.get("deployer.service") != service {
     100 │             fail(`container '${name}' is in the way, and deployer did not make it`, `look at it: docker inspect ${name}`);
         ·             ──┬─
         ·               ╰── here
     101 │         }
         ╰────
    end   failed before anything was changed, in TIME
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn an_app_that_never_gets_healthy() {
    let scene = Scene::with_v1();
    assert_snapshot!(refused(&scene, &scene.release("v2", "ENV HEALTH=503"), in_two_seconds), @r#"
    deployer::effect

      × `[SERVICE]-green` was not healthy within TIME; last answer: 503 Service Unavailable
      │ manual-generator v2: listening on port 5000
         ╭─[bluegreen.rhai:122:14]
     121 │ step "Prove green" {
     122 │     cutover::healthy(green, p.health, p.container_port);
         ·              ───┬───
         ·                 ╰── in the call of `healthy`
     123 │     database::prove(data, green);
         ╰────

    Advice: deployer::script::below

      ☞ which came from `std/cutover`
        ╭─[std/cutover:60:5]
     59 │ fn healthy(container, health, port) {
     60 │     health_wait(container, question(health, port));
        ·     ─────┬─────
        ·          ╰── here
     61 │ }
        ╰────
    end   failed, and everything it did was taken back, in TIME
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn an_app_that_dies_at_start() {
    let scene = Scene::with_v1();
    assert_snapshot!(refused(&scene, &scene.release("v2", "ENV EXIT_AT_START=3"), |config| config), @r#"
    deployer::effect

      × container `[SERVICE]-green` ended with exit code 3 while it was waited for
      │ manual-generator v2: cannot start: EXIT_AT_START is set
         ╭─[bluegreen.rhai:122:14]
     121 │ step "Prove green" {
     122 │     cutover::healthy(green, p.health, p.container_port);
         ·              ───┬───
         ·                 ╰── in the call of `healthy`
     123 │     database::prove(data, green);
         ╰────
      help: its last log lines say why; start the same image by hand to see more

    Advice: deployer::script::below

      ☞ which came from `std/cutover`
        ╭─[std/cutover:60:5]
     59 │ fn healthy(container, health, port) {
     60 │     health_wait(container, question(health, port));
        ·     ─────┬─────
        ·          ╰── here
     61 │ }
        ╰────
    end   failed, and everything it did was taken back, in TIME
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_damaged_database() {
    let scene = Scene::with_v1();
    scene.damage_database();
    assert_snapshot!(refused(&scene, &scene.release("v2", ""), |config| config), @r#"
    deployer::effect

      × database `[VOLUME]:manual_generator.db` is damaged
      │ database disk image is malformed
         ╭─[bluegreen.rhai:111:22]
     110 │ step "Start green beside blue" {
     111 │     data = database::prepare(p, image, blue); // its mode, and green's copy where the mode wants one
         ·                      ───┬───
         ·                         ╰── in the call of `prepare`
     112 │     let ports = [`${p.green_address}:${green_port}:${p.container_port}`];
         ╰────

    Advice: deployer::script::below

      ☞ which came from `std/database`
        ╭─[std/database:31:28]
     30 │     }
     31 │     let state = migration::check(db, db.volume);
        ·                            ──┬──
        ·                              ╰── in the call of `check`
     32 │     let trial = mode::try_out(data, state);
        ╰────

    Advice: deployer::script::below

      ☞ which came from `std/migration`
        ╭─[std/migration:85:5]
     84 │     options.full = db.verify == "full";
     85 │     sqlite_check(db.path, options)
        ·     ──────┬─────
        ·           ╰── here
     86 │ }
        ╰────
    end   failed before anything was changed, in TIME
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn a_state_folder_on_a_full_disk() {
    let mut scene = Scene::with_v1();
    let disk = SmallDisk::mount(scene.deployer.home());
    disk.fill();
    let before = scene.fingerprint();
    let v2 = scene.release("v2", "");
    let deployer = Deployer::docker().state_in(&disk.0.join("state"));
    let old = std::mem::replace(&mut scene.deployer, deployer);
    let finished = scene.deploy(&v2).code(2);
    assert_eq!(scene.fingerprint(), before, "the running service is untouched");
    let text = message(&scene, &finished).replace(old.home().to_str().unwrap(), "[DISK]");
    assert_snapshot!(text, @"
    deployer::journal::folder

      × the state folder `[DISK]/small/state` cannot be written: database or disk is full
      help: nothing is deployed without a journal; make room and give the right to write, or use `--state DIR`
    ");
}
