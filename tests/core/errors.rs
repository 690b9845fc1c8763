//! Errors that a script catches, and errors that it cannot catch.

use deployer::journal::entry::{Entry, RunStatus};
use serde_json::json;

use crate::test_run::{Stop, run, test_run};

#[test]
fn catch_gets_a_map() {
    let finished = run("try { docker_stop(\"web\") } catch (e) { return e; }");
    assert_eq!(
        finished.value(),
        &json!({"kind": "not_found", "message": "container `web` does not exist", "primitive": "docker_stop",
            "hint": "list the containers: `docker_list(#{all: true})`", "detail": null, "applied": "no"})
    );
    let finished = run("try { fail(\"a\", \"b\") } catch (e) { return [e.kind, e.message, e.hint, e.primitive]; }");
    assert_eq!(finished.value(), &json!(["script_failed", "a", "b", "fail"]));
    let died = run(
        "let c = docker_run(#{name: \"web\", image: \"web:dies\"});
        try { health_wait(c, #{path: \"/\"}) } catch (e) { return [e.kind, e.detail.contains(\"no configuration\")]; }",
    );
    assert_eq!(died.value(), &json!(["container_died", true]));
}

#[test]
fn a_caught_map_can_be_rethrown() {
    let finished = run("try { docker_stop(\"web\") } catch (e) { throw e; }");
    assert_eq!(finished.error(), "container `web` does not exist");
    assert!(finished.report().contains("list the containers: `docker_list(#{all: true})`"), "{}", finished.report());
}

#[test]
fn cancel_cannot_be_caught() {
    let script = "let n = 0; loop { try { n += 1; sleep(\"1s\"); } catch (e) { log(\"caught\"); } }";
    let finished = test_run(script).stop_at(9, Stop::Once).run();
    assert_eq!((finished.status(), finished.end().exit_code), (RunStatus::Cancelled, 130));
    assert!(finished.messages().is_empty());
    let retried =
        test_run("retry(#{attempts: 900, delay: \"1s\"}, || { now(); fail(\"x\"); })").stop_at(9, Stop::Once).run();
    assert_eq!(retried.status(), RunStatus::Cancelled);
    let branches = "parallel([|| { loop { try { now(); } catch {} } }, || { loop { try { now(); } catch {} } }])";
    assert_eq!(test_run(branches).stop_at(9, Stop::Once).run().status(), RunStatus::Cancelled);
}

#[test]
fn a_full_journal_cannot_be_caught() {
    let script = "for i in 0..100 { try { docker_list(); } catch (e) { log(\"caught\"); } } 1";
    let finished = test_run(script).journal_capacity(6).run();
    assert_eq!((finished.status(), finished.end().exit_code), (RunStatus::Invalid, 2));
    assert!(finished.error().contains("no space left on device"), "{}", finished.error());
    assert!(finished.report().contains("docker_list"), "the report shows the line: {}", finished.report());
    assert_eq!(finished.names().len(), 6);
}

#[test]
fn an_endless_loop_is_stopped_by_a_cancel() {
    for script in
        ["log(\"x\"); loop {}", "log(\"x\"); let n = 0; while true { n += 1; }", "log(\"x\"); try { loop {} } catch {}"]
    {
        let finished = test_run(script).stop_at(2, Stop::Once).run();
        assert_eq!(finished.status(), RunStatus::Cancelled, "{script}");
        assert_eq!(finished.error(), "the run was cancelled", "{script}");
    }
}

#[test]
fn a_cancel_is_the_reason_for_the_rollback_wherever_it_is_noticed() {
    let script = "docker_run(#{name: \"aa\", image: \"web:v1\"}); sleep(\"1s\"); let n = 0; loop { n += 1; }";
    for at in 3..=5 {
        let finished = test_run(script).stop_at(at, Stop::Once).run();
        let reasons: Vec<String> = finished
            .records()
            .into_iter()
            .filter_map(|record| match record.entry {
                Entry::RollbackStarted { reason } => Some(reason),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, ["the run was cancelled"], "{at}");
    }
}

#[test]
fn a_closure_that_fails_after_a_cancel_reports_its_own_error() {
    let script = "on_rollback(|| fail(\"of its own\")); sleep(\"1s\"); sleep(\"1s\");";
    let finished = test_run(script).stop_at(4, Stop::Once).run();
    assert_eq!(finished.status(), RunStatus::Stuck);
    assert!(finished.end().remaining[0].what.contains("of its own"), "{:?}", finished.end().remaining);
}

#[test]
fn on_finish_is_called_after_a_cancel_at_the_end() {
    let script = "on_finish(|end| { docker_list(); log(`over: ${end.status}`); }); sleep(\"1s\"); commit();";
    for at in 1..=12 {
        let finished = test_run(script).stop_at(at, Stop::Once).run();
        let registered = at > 1;
        assert_eq!(finished.messages().len(), usize::from(registered), "{at}: {:?}", finished.messages());
    }
}
