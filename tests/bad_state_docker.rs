//! A world that is not as the deploy needs it: each message whole, the exit code, and the running service untouched.

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use support::deployer::{Deployer, Finished};
use support::scene::Scene;
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
    assert_snapshot!(refused(&scene, &image, |config| config), @"");
}

#[test]
fn a_taken_port() {
    let scene = Scene::with_v1();
    let _holder = TcpListener::bind(("0.0.0.0", scene.green_port)).unwrap();
    assert_snapshot!(refused(&scene, &scene.release("v2", ""), |config| config), @"");
}

#[test]
fn a_taken_name() {
    let scene = Scene::with_v1();
    let v2 = scene.release("v2", "");
    scene.docker.cli(&["create", "--name", &format!("{}-green", scene.service), &v2]);
    assert_snapshot!(refused(&scene, &v2, |config| config), @"");
}

#[test]
fn an_app_that_never_gets_healthy() {
    let scene = Scene::with_v1();
    assert_snapshot!(refused(&scene, &scene.release("v2", "ENV HEALTH=503"), in_two_seconds), @"");
}

#[test]
fn an_app_that_dies_at_start() {
    let scene = Scene::with_v1();
    assert_snapshot!(refused(&scene, &scene.release("v2", "ENV EXIT_AT_START=3"), |config| config), @"");
}

#[test]
fn a_damaged_database() {
    let scene = Scene::with_v1();
    scene.damage_database();
    assert_snapshot!(refused(&scene, &scene.release("v2", ""), |config| config), @"");
}

/// A file system of one megabyte, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Self {
        let path = folder.join("small");
        std::fs::create_dir(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "the tests run as root");
        Self(path)
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut size = 1 << 20;
        let mut n = 0;
        while size > 0 {
            n += 1;
            if std::fs::write(self.0.join(format!("filler-{n}")), vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever the test came to, the mount must not stay.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
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
    assert_snapshot!(text, @"");
}
