//! Control functions, which are not effects: steps, messages, the end of a run, branches, retries.

use std::time::{Duration, Instant};

use deployer::gateway::fault::{FaultKind, FaultRule};
use deployer::journal::entry::{Entry, RunStatus};
use serde_json::json;

use crate::test_run::{FinishedRun, run, test_run};

fn steps(finished: &FinishedRun) -> Vec<String> {
    let line = |entry| match entry {
        Entry::StepOpened { seq, title } => Some(format!("{seq} {title}")),
        Entry::StepClosed { seq, ok } => Some(format!("{seq} {ok}")),
        _ => None,
    };
    finished.records().into_iter().filter_map(|record| line(record.entry)).collect()
}

#[test]
fn steps_nest_and_have_values() {
    let finished = run("let x = step \"a\" { step `b${1}` { 41 } + 1 }; x");
    assert_eq!(finished.value(), 42);
    assert_eq!(steps(&finished), ["1 a", "2 b1", "2 true", "1 true"]);
}

#[test]
fn steps_close_on_every_exit() {
    let finished = run("fn f() { step \"a\" { return 1; } } f()");
    assert_eq!((finished.value(), steps(&finished)), (&json!(1), vec!["1 a".into(), "1 true".into()]));
    let finished = run("let n = 0; loop { n += 1; step \"a\" { if n == 2 { break; } continue; } } n");
    assert_eq!(finished.value(), 2);
    assert_eq!(steps(&finished), ["1 a", "1 true", "2 a", "2 true"]);
    let finished = run("step \"a\" { step \"b\" { fail(\"no\"); } }");
    assert_eq!(steps(&finished), ["1 a", "2 b", "2 false", "1 false"]);
    assert_eq!((finished.status(), finished.error().as_str()), (RunStatus::Failed, "no"));
    let finished = run("try { step \"a\" { throw \"x\"; } } catch (e) { return e; }");
    assert_eq!((finished.value(), steps(&finished)), (&json!("x"), vec!["1 a".into(), "1 false".into()]));
}

#[test]
fn messages_are_entries() {
    let finished = run("log(\"a\"); warn(5); print([1, \"x\"]); log(#{k: ()}); log(1.5);");

    assert_eq!(finished.messages(), ["a", "5", "[1, \"x\"]", "{\"k\":null}", "1.5"]);
}

#[test]
fn fail_rolls_back_and_shows_its_hint() {
    let finished = run("docker_run(#{name: \"web\", image: \"web:v1\"}); fail(\"too small\", \"free 2 GB\");");
    assert_eq!((finished.status(), finished.error().as_str()), (RunStatus::Failed, "too small"));
    assert!(finished.report().contains("help: free 2 GB"), "{}", finished.report());
    assert_eq!(finished.before, finished.after);
}

#[test]
fn commit_keeps_earlier_changes() {
    let run_one = |name: &str| format!("docker_run(#{{name: \"{name}\", image: \"web:v1\"}});");
    let finished = run(&format!("{}commit();{}fail(\"x\");", run_one("one"), run_one("two")));
    assert_eq!(finished.after.containers.keys().collect::<Vec<_>>(), ["one"]);
    assert!(finished.end().committed);
    assert_eq!(finished.status(), RunStatus::Failed);
    let late = run("on_rollback(|| { try { commit(); } catch (e) { log(e.message); } }); fail(\"x\");");
    assert_eq!(late.messages(), ["`commit` is too late: the run is being rolled back"]);
    assert_eq!(late.status(), RunStatus::Failed);
}

#[test]
fn undos_and_closures_are_called_in_reverse_order() {
    let finished = run("let name = \"x\"; docker_run(#{name: \"one\", image: \"web:v1\"});
        on_rollback(|| log(`first ${name}`)); docker_run(#{name: \"two\", image: \"web:v1\"});
        on_rollback(|| { log(\"second\"); docker_list(); }); name = \"y\"; fail(\"x\");");
    let rollback = finished.records().iter().position(|record| record.entry.name() == "rollback_started").unwrap();
    let after: Vec<String> = finished.records()[rollback + 1..]
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::Intended { intent } => Some(format!("{} {}", intent.kind, intent.subject)),
            Entry::Logged { text, .. } => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(after, ["second", "docker_list ", "docker_remove two", "first y", "docker_remove one"]);
    assert_eq!((finished.status(), &finished.before), (RunStatus::Failed, &finished.after));
}

#[test]
fn a_failed_rollback_closure_leaves_the_run_stuck_with_instructions() {
    let finished =
        run("docker_run(#{name: \"one\", image: \"web:v1\"}); on_rollback(|| fail(\"cannot\")); fail(\"x\");");
    assert_eq!((finished.status(), finished.end().exit_code), (RunStatus::Stuck, 3));
    assert!(finished.end().remaining[0].what.contains("cannot"), "{:?}", finished.end().remaining);
    assert!(finished.end().remaining[1].command.as_ref().unwrap().contains("docker_remove"));
    assert_eq!(finished.error(), "x");
}

#[test]
fn undos_below_a_failed_guard_are_neither_performed_nor_suggested() {
    let run_one = |name: &str| format!("docker_run(#{{name: \"{name}\", image: \"web:v1\"}});");
    let guarded = |closure: &str| {
        let (one, two) = (run_one("one"), run_one("two"));
        format!(
            "{one} on_rollback(|| log(\"below\")); on_rollback({closure}, \"deployer run web.rhai\"); {two} fail(\"x\");"
        )
    };
    let stuck = run(&guarded("|| fail(\"rows\")"));
    assert_eq!((stuck.status(), stuck.messages().len()), (RunStatus::Stuck, 0));
    let remaining = &stuck.end().remaining;
    assert_eq!(remaining.len(), 1, "{remaining:?}");
    assert!(remaining[0].what.contains("rows") && remaining[0].what.contains("were not undone"), "{remaining:?}");
    let expected = format!("deployer resolve {} && deployer run web.rhai --engine sim", stuck.run);
    assert_eq!(remaining[0].command.as_deref(), Some(expected.as_str()));
    assert_eq!(stuck.after.containers.keys().collect::<Vec<_>>(), ["one"], "the effects above it are undone");
    // A failed undo above the guard also stops those below it.
    let refused =
        |nth| FaultRule { kind: "docker_remove".into(), subject: String::new(), nth, fault: FaultKind::Refused };
    let above =
        (1..9).fold(test_run(&guarded("|| log(\"guard\")")), |test_run, nth| test_run.fault(refused(nth))).run();
    let commands: Vec<_> = above.end().remaining.iter().filter_map(|remaining| remaining.command.clone()).collect();
    assert_eq!(above.status(), RunStatus::Stuck);
    assert!(
        commands.len() == 2 && commands[0].contains("docker_remove") && commands[1].contains("web.rhai"),
        "{commands:?}"
    );
    let open = run(&guarded("|| log(\"guard\")"));
    assert_eq!((open.status(), open.messages()), (RunStatus::Failed, vec!["guard".to_owned(), "below".to_owned()]));
}

#[test]
fn on_finish_is_called_at_every_end_and_cannot_change_it() {
    let finish = "on_finish(|end| log(`${end.status} ${end.committed} ${end.error}`));";
    for (script, message, status) in [
        ("", "succeeded false ", RunStatus::Succeeded),
        ("commit();", "succeeded true ", RunStatus::Succeeded),
        ("docker_run(#{name: \"a1\", image: \"web:v1\"}); fail(\"x\");", "rolled_back false x", RunStatus::Failed),
        ("commit(); fail(\"x\");", "failed true x", RunStatus::Failed),
        ("docker_run(1);", "failed false `docker_run` expects a map here, not an integer", RunStatus::Invalid),
        (
            "docker_run(#{name: \"a1\", image: \"web:v1\"}); on_rollback(|| throw 1); fail(\"x\");",
            "stuck false x",
            RunStatus::Stuck,
        ),
    ] {
        let finished = run(&format!("{finish} {script}"));
        assert_eq!(finished.messages(), [message], "{script}");
        assert_eq!(finished.status(), status);
    }
    let finished = run("on_finish(|end| fail(\"oh\")); on_finish(|end| log(\"still\")); 7");
    assert_eq!(finished.value(), 7);
    assert_eq!(finished.messages(), ["still", "`on_finish` failed: oh"]);
}

const BRANCHES: &str = "let x = 1;
    let r = parallel([
        || { x += 1; docker_run(#{name: \"one\", image: \"web:v1\"}); sleep(\"1s\"); docker_list(); x },
        || { x += 10; docker_run(#{name: \"two\", image: \"web:v1\"}); parallel([|| now(), || now()]); x },
        || { log(\"third\"); x },
    ]);
    docker_list(); r + [x]";

#[test]
fn branches_have_their_own_variables_and_positions() {
    let positions = || {
        let finished = run(BRANCHES);
        assert_eq!(finished.value(), &json!([2, 11, 1, 1]));
        let mut intents: Vec<String> =
            finished.intents().iter().map(|intent| format!("{} {}", intent.seq, intent.kind)).collect();
        intents.sort();
        intents
    };
    let first = positions();
    assert_eq!(
        first,
        [
            "1.1.1 docker_run",
            "1.1.2 sleep",
            "1.1.3 docker_list",
            "1.2.1 docker_run",
            "1.2.2.1.1 now",
            "1.2.2.2.1 now",
            "2 docker_list"
        ]
    );
    for _ in 0..50 {
        assert_eq!(positions(), first);
    }
}

#[test]
fn the_first_failure_in_script_order_is_reported_and_all_is_rolled_back() {
    let finished = run("parallel([
        || { docker_run(#{name: \"one\", image: \"web:v1\"}); sleep(\"1s\"); fail(\"one\"); },
        || { docker_run(#{name: \"two\", image: \"web:v1\"}); fail(\"two\"); },
    ])");
    assert_eq!((finished.error().as_str(), finished.status()), ("one", RunStatus::Failed));
    assert_eq!(finished.before, finished.after);
    assert_eq!(finished.effects().iter().filter(|effect| effect.starts_with("docker_remove")).count(), 2);
}

#[test]
fn parallel_takes_at_most_64_closures() {
    assert_eq!(run("parallel([1])").error(), "`parallel` takes closures, not an integer");
    assert!(run("let a = []; for i in 0..65 { a.push(|| 1); } parallel(a)").error().contains("at most 64 closures"));
    assert_eq!(run("parallel([])").value(), &json!([]));
}

#[test]
fn branches_import_the_same_module_concurrently() {
    let script = "let f = []; for i in 0..16 { f.push(|| { import \"m\" as m; m::two() }); } parallel(f)";
    for _ in 0..10 {
        let finished = test_run(script).module("m", "fn two() { 2 }").run();
        assert_eq!(finished.value(), &json!(vec![2; 16]));
    }
}

#[test]
fn retry_waits_in_virtual_time() {
    let began = Instant::now();
    let script = "let n = 0; let r = retry(#{attempts: 4, delay: \"10m\", backoff: 2}, || { n += 1; if n < 3 { fail(\"not yet\"); } n });
        [r, n, now().unix_ms]";
    let finished = run(script);
    assert_eq!(finished.messages(), ["attempt 1 of 4 failed: not yet", "attempt 2 of 4 failed: not yet"]);
    assert_eq!(finished.value()[0], 3);
    assert_eq!(finished.effects(), ["sleep 10m", "sleep 20m", "now"]);
    assert!(began.elapsed() < Duration::from_secs(20));
    let finished = run("retry(#{attempts: 2, delay: ()}, || fail(\"never\"))");
    assert_eq!((finished.error().as_str(), finished.effects().len()), ("never", 1));
}

#[test]
fn retry_checks_its_options() {
    for (options, message) in [
        ("#{attempts: 0}", "`retry`: `attempts` must be a number from 1 to 1000"),
        ("#{attmpts: 1}", "`retry` has no option `attmpts`; did you mean `attempts`?"),
        ("#{delay: 5}", "`retry`: `5` is not a duration: write it like `250ms`, `30s`, `5m` or `1h30m`"),
        ("#{backoff: \"x\"}", "`retry`: `backoff` must be a number from 1 to 10"),
        ("#{backoff: 0.0 / 0.0}", "`retry`: `backoff` must be a number from 1 to 10"),
    ] {
        assert_eq!(run(&format!("retry({options}, || 1)")).error(), message);
    }
    let endless = run("retry(#{attempts: 40, delay: \"200d\", backoff: 10}, || fail(\"x\"))");
    assert_eq!(endless.error(), "x");
}

#[test]
fn retry_repeats_failed_effects_and_keeps_their_undos() {
    let script =
        "retry(#{attempts: 3, delay: \"1s\"}, || docker_run(#{name: \"web\", image: \"web:v1\"})); fail(\"x\");";
    let fault = FaultRule { kind: "docker_run".into(), subject: String::new(), nth: 1, fault: FaultKind::Refused };
    let finished = test_run(script).fault(fault).run();
    assert_eq!((finished.status(), &finished.before), (RunStatus::Failed, &finished.after));
}
