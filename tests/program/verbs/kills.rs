//! Kills a blue-green deploy with SIGKILL at many moments. It can always be rolled back, and a version always serves.

use std::thread;

use super::service::Service;
use crate::support::watched_run::WatchedRun;

/// Services that are deployed in parallel.
const LANES: usize = 3;
/// Kills of each service.
const MOMENTS: usize = 5;

#[test]
fn an_abort_that_is_killed_can_be_repeated() {
    let service = Service::with_v1("SLOW_STOP = \"1\"");
    let config = service.config("v2", "SLOW_STOP = \"1\"");
    let mut run = service.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
    run.until_intended("sleep");
    let id = run.id();
    run.kill();
    for kind in ["docker_stop", "docker_start", "docker_remove"] {
        let mut abort = WatchedRun::start(service.deployer.command(&["abort", &id, "--format", "json"]));
        abort.until("an undo", |event| event["intent"]["kind"] == kind && event["intent"]["undoes"].is_string());
        abort.kill();
    }
    service.deployer.call(&["abort", &id]).ok();
    service.serves_alone("v1");
    assert_eq!(service.files_in("locks"), [""; 0]);
}

#[test]
fn a_first_deploy_that_is_killed_leaves_nothing_after_abort() {
    let service = Service::new();
    for kind in ["docker_run", "docker_create", "docker_start"] {
        let mut run = service.watch("v1", "");
        run.until(kind, |event| event["intent"]["kind"] == kind);
        let id = run.id();
        run.kill();
        service.deployer.call(&["abort", &id]).ok();
        assert_eq!(
            (service.containers(), service.images(), service.files_in("locks")),
            (vec![], vec![], vec![]),
            "{kind}"
        );
    }
    service.deploy("v1", "").ok();
    service.serves_alone("v1");
}

/// Kills the run after this many events, and returns its id.
fn kill_after(mut run: WatchedRun, events: usize) -> String {
    for _ in 0..events {
        if run.next().is_none() {
            break;
        }
    }
    let id = run.id();
    run.kill();
    id
}

/// Kills a deploy of the version `killed` after some of its `events`, and aborts it. Returns the live version afterwards.
fn kill_and_abort(service: &Service, live: &str, killed: &str, after: usize, events: usize) -> String {
    let moment = format!("killed after {after} of {events} events");
    let images = service.images();
    let id = kill_after(service.watch(killed, ""), after);
    let journal = service.deployer.call(&["show", &id, "--format", "json"]).ok().stdout;
    let happened = |entry: &str| journal.contains(&format!("\"entry\":\"{entry}\""));
    // The run may have ended before the kill.
    if happened("run_ended") {
        service.deployer.call(&["abort", &id]).code(2).says("has ended");
        return killed.to_owned();
    }
    let refused = service.deploy("never", "");
    assert_eq!(refused.code, 5, "{moment}: {}", refused.said());
    assert!(refused.said().contains(&format!("deployer abort {id}")), "{moment}: {}", refused.said());
    let aborted = service.deployer.call(&["abort", &id]);
    assert_eq!(aborted.code, 0, "{moment}: {}", aborted.said());
    assert_eq!(service.files_in("locks"), [""; 0], "{moment}");
    if happened("committed") {
        assert_eq!(service.version(), killed, "{moment}: the new version stays");
        return killed.to_owned();
    }
    service.serves_alone(live);
    assert_eq!(service.images(), images, "{moment}");
    live.to_owned()
}

#[test]
fn a_deploy_that_is_killed_at_any_moment_can_be_aborted_and_the_next_one_succeeds() {
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let service = Service::with_v1("");
                let mut complete = service.watch("v2", "");
                while complete.next().is_some() {}
                let events = complete.seen.len();
                complete.wait().ok();

                let mut live = "v2".to_owned();
                for moment in (lane..MOMENTS * LANES).step_by(LANES) {
                    let after = 1 + moment * (events - 1) / (MOMENTS * LANES);
                    live = kill_and_abort(&service, &live, &format!("k{moment}"), after, events);
                }
                service.deploy("last", "").ok();
                service.serves_alone("last");
            });
        }
    });
}
