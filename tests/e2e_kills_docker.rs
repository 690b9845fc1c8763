//! `kill -9` of deployer at several moments of a blue-green deploy on real Docker: the next run is refused and says what
//! to type, the abort brings the old version back, and nothing else is left.

mod support;

use std::thread;

use support::apps;
use support::scene::Scene;
use support::watched_run::WatchedRun;

/// Up to where a deploy gets before it is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The first effect of this kind is about to be performed.
    Before(&'static str),
    /// It was performed.
    After(&'static str),
}

fn reach(run: &mut WatchedRun, moment: Moment) {
    let (Moment::Before(kind) | Moment::After(kind)) = moment;
    let intended = run.until_intended(kind);
    if let Moment::After(_) = moment {
        let seq = &intended["intent"]["seq"];
        run.until("its outcome", |event| event["entry"] == "completed" && event["seq"] == *seq);
    }
}

/// What the engine has of this run: containers, volumes, networks.
fn made_by(scene: &Scene, run: &str) -> String {
    let filter = format!("label=deployer.run={run}");
    let list = |args: &[&str]| scene.docker.cli(&[args, &["--quiet", "--filter", &filter]].concat());
    format!("{}{}{}", list(&["ps", "--all"]), list(&["volume", "ls"]), list(&["network", "ls"]))
}

/// Ids and names of the service's images.
fn images(scene: &Scene) -> String {
    let reference = format!("reference={}", scene.service);
    scene.docker.cli(&["images", "--no-trunc", "--format", "{{.ID}} {{.Tag}}", "--filter", &reference])
}

/// Kills the deploy of v2 over v1 at each moment, one after another.
fn killed_at(moments: &[Moment]) {
    let scene = Scene::with_v1();
    let image = apps::manual(&scene.docker, "v2");
    let config = scene.deployer.file("second.toml", &scene.config(&image));
    let blue = scene.docker.inspect(&scene.service)["Id"].clone();
    let before = images(&scene);
    for moment in moments {
        let mut run = scene.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
        reach(&mut run, *moment);
        let id = run.id();
        run.kill();

        let there = scene.docker.containers(true);
        let refused = scene.deploy(&image).code(5).says(&format!("deployer abort {id}"));
        refused.says(&format!("deployer show {id}")).says("nothing was touched");
        assert_eq!(scene.docker.containers(true), there, "{moment:?}");

        scene.deployer.call(&["abort", &id]).ok();
        scene.serves_alone("v1");
        assert_eq!(scene.docker.inspect(&scene.service)["Id"], blue, "{moment:?}: it is the old container");
        assert_eq!((made_by(&scene, &id).as_str(), images(&scene)), ("", before.clone()), "{moment:?}");
        scene.deployer.call(&["abort", &id]).code(2).says("has ended: aborted");
    }
    scene.deploy(&image).ok();
    scene.serves_alone("v2");
}

#[test]
fn killed_before_the_point_of_no_return_the_old_version_serves_again() {
    thread::scope(|scope| {
        scope.spawn(|| killed_at(&[Moment::Before("docker_run"), Moment::After("docker_run")]));
        scope.spawn(|| killed_at(&[Moment::Before("docker_stop"), Moment::After("docker_stop")]));
        scope.spawn(|| killed_at(&[Moment::Before("docker_start"), Moment::Before("sleep")]));
    });
}

#[test]
fn killed_after_the_point_of_no_return_the_new_version_stays() {
    let scene = Scene::with_v1();
    let image = apps::manual(&scene.docker, "v2");
    let config = scene.deployer.file("second.toml", &scene.config(&image));
    let mut run = scene.deployer.watch_run("bluegreen.rhai", &["--config", &config]);
    run.until("the point of no return", |event| event["entry"] == "committed");
    run.until_intended("docker_rename");
    let id = run.id();
    run.kill();
    scene.deploy(&image).code(5).says(&format!("deployer abort {id}"));
    scene.deployer.call(&["abort", &id]).ok();
    assert_eq!(scene.get("/health").version, "v2");
    // What is left under temporary names goes with the next deploy.
    scene.deploy(&apps::manual(&scene.docker, "v3")).ok();
    scene.serves_alone("v3");
}
