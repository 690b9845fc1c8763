//! `kill -9` at many moments of a blue-green deploy: what is left can always be taken back, and somebody serves.

use crate::service::Service;
use crate::support::watched_run::WatchedRun;

const MOMENTS: usize = 12;

#[test]
fn an_abort_that_is_killed_can_be_repeated() {
    let service = Service::with_v1("SLOW_STOP = \"2\"");
    let mut run = service.watch("v2", "");
    run.until("the bake", |event| event["title"] == "Watch the public port");
    let id = run.id();
    run.kill();
    for kind in ["docker_stop", "docker_start", "docker_remove"] {
        let mut abort = WatchedRun::start(service.deployer.command(&["abort", &id, "--format", "json"]));
        abort.until("an undo", |event| event["intent"]["kind"] == kind && event["intent"]["undoes"].is_string());
        abort.kill();
    }
    service.deployer.call(&["abort", &id]).ok();
    service.serves_alone("v1");
    assert_eq!(service.kept("locks"), [""; 0]);
}

/// Kills the run after so many events; returns its id.
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

#[test]
fn a_deploy_that_is_killed_at_any_moment_can_be_aborted_and_the_next_one_succeeds() {
    let service = Service::with_v1("");
    let mut whole = service.watch("v2", "");
    while whole.next().is_some() {}
    let events = whole.seen.len();
    whole.wait().ok();

    let mut serving = "v2".to_owned();
    for moment in 0..MOMENTS {
        let killed = format!("v{}", 3 + 2 * moment);
        let next = format!("v{}", 4 + 2 * moment);
        let after = 1 + moment * (events - 1) / MOMENTS;
        let id = kill_after(service.watch(&killed, ""), after);
        let place = format!("killed after {after} of {events} events");

        let aborted = service.deployer.call(&["abort", &id]);
        // The moment may have come too late: the run has ended then.
        assert!(aborted.code == 0 || aborted.said().contains("has ended"), "{place}: {}", aborted.said());
        let now = service.version();
        assert!([&serving, &killed].contains(&&now), "{place}: {now} serves");
        assert_eq!(service.kept("locks"), [""; 0], "{place}");

        let deployed = service.deploy(&next, "");
        assert_eq!(deployed.code, 0, "{place}: {}", deployed.said());
        service.serves_alone(&next);
        serving = next;
    }
}
