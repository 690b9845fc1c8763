//! Kills deployer with SIGKILL at several moments of a blue-green deploy on real Docker. The next run is refused and
//! prints the commands to type; `abort` restores the old version and leaves nothing else.

use crate::support;

use std::os::unix::fs::symlink;
use std::thread;

use support::apps;
use support::manual_app::ManualApp;
use support::watched_run::WatchedRun;

/// When a deploy is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// At the first intent of this kind.
    Before(&'static str),
    /// After the outcome of that effect.
    After(&'static str),
}

fn wait_for(run: &mut WatchedRun, moment: Moment) {
    let (Moment::Before(kind) | Moment::After(kind)) = moment;
    let intended = run.until_intended(kind);
    if let Moment::After(_) = moment {
        let seq = &intended["intent"]["seq"];
        run.until("its outcome", |event| event["entry"] == "completed" && event["seq"] == *seq);
    }
}

/// Lists the containers, volumes and networks that this run created.
fn created_by(app: &ManualApp, run: &str) -> String {
    let filter = format!("label=deployer.run={run}");
    let list = |args: &[&str]| app.docker.cli(&[args, &["--quiet", "--filter", &filter]].concat());
    format!("{}{}{}", list(&["ps", "--all"]), list(&["volume", "ls"]), list(&["network", "ls"]))
}

/// Returns the ids and tags of the images of the service.
fn images(app: &ManualApp) -> String {
    let reference = format!("reference={}", app.service);
    app.docker.cli(&["images", "--no-trunc", "--format", "{{.ID}} {{.Tag}}", "--filter", &reference])
}

/// Kills a deploy of v2 over v1 at each of these moments, one after another, and aborts it.
fn kill_and_abort_at(moments: &[Moment]) {
    let app = ManualApp::with_v1();
    let image = apps::manual_image(&app.docker, "v2");
    let config = app.deployer.file("second.toml", &app.config(&image));
    let blue = app.docker.inspect(&app.service)["Id"].clone();
    let before = images(&app);
    let socket = app.deployer.home().join("engine.sock");
    symlink(support::forwarder::engine_socket(), &socket).unwrap();
    let engine_alias = format!("unix://{}", socket.display());
    for moment in moments {
        let mut run = app.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
        wait_for(&mut run, *moment);
        let id = run.id();
        run.kill();

        let containers = app.docker.containers(true);
        let refused = app.deploy(&image).code(5).says(&format!("deployer abort {id}"));
        refused.says(&format!("deployer show {id}")).says("this command changed nothing");
        assert_eq!(app.docker.containers(true), containers, "{moment:?}");
        // The same engine by another path of its socket.
        let args = ["--config", &config, "--docker-host", &engine_alias];
        app.deployer.run("bluegreen.rhai", &args).code(5).says(&format!("deployer abort {id}"));

        app.deployer.call(&["abort", &id]).ok();
        app.serves_alone("v1");
        assert_eq!(app.docker.inspect(&app.service)["Id"], blue, "{moment:?}: the old container serves");
        assert_eq!((created_by(&app, &id).as_str(), images(&app)), ("", before.clone()), "{moment:?}");
        app.deployer.call(&["abort", &id]).code(2).says("has ended: aborted");
    }
    app.deploy(&image).ok();
    app.serves_alone("v2");
}

#[test]
fn abort_of_a_deploy_killed_before_the_commit_restores_the_old_version() {
    thread::scope(|scope| {
        scope.spawn(|| kill_and_abort_at(&[Moment::Before("docker_run"), Moment::After("docker_run")]));
        scope.spawn(|| kill_and_abort_at(&[Moment::Before("docker_stop"), Moment::After("docker_stop")]));
        scope.spawn(|| kill_and_abort_at(&[Moment::Before("docker_start"), Moment::Before("sleep")]));
    });
}

#[test]
fn abort_of_a_deploy_killed_after_the_commit_keeps_the_new_version() {
    let app = ManualApp::with_v1();
    let image = apps::manual_image(&app.docker, "v2");
    let config = app.deployer.file("second.toml", &app.config(&image));
    let mut run = app.deployer.watch_run("bluegreen.rhai", &["--config", &config]);
    run.until("the commit", |event| event["entry"] == "committed");
    run.until_intended("docker_rename");
    let id = run.id();
    run.kill();
    app.deploy(&image).code(5).says(&format!("deployer abort {id}"));
    app.deployer.call(&["abort", &id]).code(1).says("changes before `commit()` stay");
    assert_eq!(app.get("/health").version, "v2");
    // The next deploy removes what is left under temporary names.
    app.deploy(&apps::manual_image(&app.docker, "v3")).ok();
    app.serves_alone("v3");
}
