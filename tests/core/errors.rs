//! Errors on their way to a script's `catch`, and past it.

use deployer::journal::entry::{Entry, RunStatus};
use serde_json::json;

use crate::play::{Stop, play, run};

#[test]
fn catch_gets_a_map() {
    let played = run("try { docker_stop(\"web\") } catch (e) { return e; }");
    assert_eq!(
        played.value(),
        &json!({"kind": "not_found", "message": "container `web` does not exist", "primitive": "docker_stop",
            "hint": "see which there are: docker ps -a", "detail": null, "applied": "no"})
    );
    let played = run("try { fail(\"a\", \"b\") } catch (e) { return [e.kind, e.message, e.hint, e.primitive]; }");
    assert_eq!(played.value(), &json!(["script_failed", "a", "b", "fail"]));
    let died = run(
        "let c = docker_run(#{name: \"web\", image: \"web:dies\"});
        try { health_wait(c, #{path: \"/\"}) } catch (e) { return [e.kind, e.detail.contains(\"no configuration\")]; }",
    );
    assert_eq!(died.value(), &json!(["container_died", true]));
}

#[test]
fn a_caught_map_can_be_thrown_on() {
    let played = run("try { docker_stop(\"web\") } catch (e) { throw e; }");
    assert_eq!(played.error(), "container `web` does not exist");
    assert!(played.report().contains("docker ps -a"), "{}", played.report());
}

#[test]
fn cancel_cannot_be_caught() {
    let script = "let n = 0; loop { try { n += 1; sleep(\"1s\"); } catch (e) { log(\"caught\"); } }";
    let played = play(script).stop_at(9, Stop::Once).run();
    assert_eq!((played.status(), played.end().exit_code), (RunStatus::Cancelled, 130));
    assert!(played.said().is_empty());
    let retried =
        play("retry(#{attempts: 900, delay: \"1s\"}, || { now(); fail(\"x\"); })").stop_at(9, Stop::Once).run();
    assert_eq!(retried.status(), RunStatus::Cancelled);
    let branches = "parallel([|| { loop { try { now(); } catch {} } }, || { loop { try { now(); } catch {} } }])";
    assert_eq!(play(branches).stop_at(9, Stop::Once).run().status(), RunStatus::Cancelled);
}

#[test]
fn a_full_journal_cannot_be_caught() {
    let script = "for i in 0..100 { try { docker_list(); } catch (e) { log(\"caught\"); } } 1";
    let played = play(script).room(6).run();
    assert_eq!((played.status(), played.end().exit_code), (RunStatus::Invalid, 2));
    assert!(played.error().contains("no space left on device"), "{}", played.error());
    assert!(played.report().contains("docker_list"), "shows the line: {}", played.report());
    assert_eq!(played.names().len(), 6);
}

#[test]
fn an_endless_loop_is_stopped_by_a_cancel() {
    for script in
        ["log(\"x\"); loop {}", "log(\"x\"); let n = 0; while true { n += 1; }", "log(\"x\"); try { loop {} } catch {}"]
    {
        let played = play(script).stop_at(2, Stop::Once).run();
        assert_eq!(played.status(), RunStatus::Cancelled, "{script}");
        assert_eq!(played.error(), "the run was cancelled", "{script}");
    }
}

#[test]
fn a_cancel_is_the_reason_wherever_it_is_noticed() {
    let script = "docker_run(#{name: \"aa\", image: \"web:v1\"}); sleep(\"1s\"); let n = 0; loop { n += 1; }";
    for at in 3..=5 {
        let played = play(script).stop_at(at, Stop::Once).run();
        let reasons: Vec<String> = played
            .records()
            .into_iter()
            .filter_map(|record| match record.entry {
                Entry::UnwindStarted { reason } => Some(reason),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, ["the run was cancelled"], "{at}");
    }
}

#[test]
fn a_closure_that_fails_after_a_cancel_tells_its_own_reason() {
    let script = "on_rollback(|| fail(\"of its own\")); sleep(\"1s\"); sleep(\"1s\");";
    let played = play(script).stop_at(4, Stop::Once).run();
    assert_eq!(played.status(), RunStatus::Stuck);
    assert!(played.end().remaining[0].what.contains("of its own"), "{:?}", played.end().remaining);
}

#[test]
fn last_words_are_said_after_a_cancel_at_the_end() {
    let script = "on_finish(|end| { docker_list(); log(`over: ${end.status}`); }); sleep(\"1s\"); commit();";
    for at in 1..=12 {
        let played = play(script).stop_at(at, Stop::Once).run();
        let registered = at > 1;
        assert_eq!(played.said().len(), usize::from(registered), "{at}: {:?}", played.said());
    }
}
