//! Kills a blue-green deploy with SIGKILL at many moments. It can always be rolled back, and a version always serves.

use std::thread;

use super::service::Service;
use crate::support::deployer::Finished;
use crate::support::watched_run::WatchedRun;

/// Services that are deployed in parallel.
const LANES: usize = 3;
/// Processes that reopen the same run at once.
const RIVALS: usize = 4;
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

#[test]
fn of_several_processes_that_reopen_a_run_exactly_one_does() {
    let service = Service::with_v1("SLOW_STOP = \"1\"");
    for (command, expected) in [("abort", "v1"), ("resume", "v2")] {
        let mut run = service.watch("v2", "SLOW_STOP = \"1\"");
        run.until_intended("docker_stop");
        let id = run.id();
        run.kill();
        let rivals: Vec<WatchedRun> = (0..RIVALS)
            .map(|_| WatchedRun::start(service.deployer.command(&[command, &id, "--format", "json"])))
            .collect();
        let ends: Vec<Finished> = rivals.into_iter().map(WatchedRun::wait).collect();
        let codes: Vec<i32> = ends.iter().map(|end| end.code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{command}: {codes:?} {ends:?}");
        for end in ends.iter().filter(|end| end.code != 0) {
            // The other process is still at it (4), or has already ended the run (2).
            assert!([2, 4].contains(&end.code), "{command}: {end:?}");
            assert!(!end.stderr.contains("disk"), "{command}: {end:?}");
        }
        let entries = service.deployer.call(&["show", &id, "--format", "json"]).ok().stdout;
        assert_eq!(entries.matches("\"entry\":\"run_ended\"").count(), 1, "{command}");
        service.serves_alone(expected);
        assert_eq!(service.files_in("locks"), [""; 0]);
    }
}

#[test]
fn a_run_of_another_version_is_reopened_with_a_warning() {
    let service = Service::with_v1("");
    let mut run = service.watch("v2", "");
    run.until_intended("docker_stop");
    let id = run.id();
    run.kill();
    let journal = rusqlite::Connection::open(service.deployer.state().join("journal.db")).unwrap();
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let older = "\"version\":\"0.0.9\"";
    journal.execute("UPDATE runs SET header = replace(header, ?1, ?2) WHERE run = ?3", [&version, older, &id]).unwrap();
    drop(journal);
    let warning = format!("warning: deployer 0.0.9 started run {id}, and this is {}", env!("CARGO_PKG_VERSION"));
    service.deployer.call(&["abort", &id]).ok().says(&warning);
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
    assert_eq!(aborted.code, i32::from(happened("committed")), "{moment}: {}", aborted.said());
    assert_eq!(service.files_in("locks"), [""; 0], "{moment}");
    if happened("committed") {
        assert!(aborted.said().contains("changes before `commit()` stay"), "{moment}: {}", aborted.said());
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
