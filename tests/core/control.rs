//! The words that are no effects: steps, messages, the end, branches, tries.

use std::time::{Duration, Instant};

use deployer::gateway::fault::{FaultKind, FaultRule};
use deployer::journal::entry::{Entry, RunStatus};
use serde_json::json;

use crate::play::{Played, play, run};

fn steps(played: &Played) -> Vec<String> {
    let line = |entry| match entry {
        Entry::StepOpened { seq, title } => Some(format!("{seq} {title}")),
        Entry::StepClosed { seq, ok } => Some(format!("{seq} {ok}")),
        _ => None,
    };
    played.records().into_iter().filter_map(|record| line(record.entry)).collect()
}

#[test]
fn steps_nest_and_have_values() {
    let played = run("let x = step \"a\" { step `b${1}` { 41 } + 1 }; x");
    assert_eq!(played.value(), 42);
    assert_eq!(steps(&played), ["1 a", "2 b1", "2 true", "1 true"]);
}

#[test]
fn steps_close_however_they_are_left() {
    let played = run("fn f() { step \"a\" { return 1; } } f()");
    assert_eq!((played.value(), steps(&played)), (&json!(1), vec!["1 a".into(), "1 true".into()]));
    let played = run("let n = 0; loop { n += 1; step \"a\" { if n == 2 { break; } continue; } } n");
    assert_eq!(played.value(), 2);
    assert_eq!(steps(&played), ["1 a", "1 true", "2 a", "2 true"]);
    let played = run("step \"a\" { step \"b\" { fail(\"no\"); } }");
    assert_eq!(steps(&played), ["1 a", "2 b", "2 false", "1 false"]);
    assert_eq!((played.status(), played.error().as_str()), (RunStatus::Failed, "no"));
    let played = run("try { step \"a\" { throw \"x\"; } } catch (e) { return e; }");
    assert_eq!((played.value(), steps(&played)), (&json!("x"), vec!["1 a".into(), "1 false".into()]));
}

#[test]
fn messages_are_entries() {
    let played = run("log(\"a\"); warn(5); print([1, \"x\"]); log(#{k: ()}); log(1.5);");

    assert_eq!(played.said(), ["a", "5", "[1, \"x\"]", "{\"k\":null}", "1.5"]);
}

#[test]
fn fail_takes_back_and_shows_its_hint() {
    let played = run("docker_run(#{name: \"web\", image: \"web:v1\"}); fail(\"too small\", \"free 2 GB\");");
    assert_eq!((played.status(), played.error().as_str()), (RunStatus::Failed, "too small"));
    assert!(played.report().contains("help: free 2 GB"), "{}", played.report());
    assert_eq!(played.before, played.after);
}

#[test]
fn commit_keeps_what_came_before() {
    let run_one = |name: &str| format!("docker_run(#{{name: \"{name}\", image: \"web:v1\"}});");
    let played = run(&format!("{}commit();{}fail(\"x\");", run_one("one"), run_one("two")));
    assert_eq!(played.after.containers.keys().collect::<Vec<_>>(), ["one"]);
    assert!(played.end().committed);
    assert_eq!(played.status(), RunStatus::Failed);
    let late = run("on_rollback(|| { try { commit(); } catch (e) { log(e.message); } }); fail(\"x\");");
    assert_eq!(late.said(), ["`commit` comes too late: the run is being taken back"]);
    assert_eq!(late.status(), RunStatus::Failed);
}

#[test]
fn undos_and_closures_are_called_in_reverse_order() {
    let played = run("let name = \"x\"; docker_run(#{name: \"one\", image: \"web:v1\"});
        on_rollback(|| log(`first ${name}`)); docker_run(#{name: \"two\", image: \"web:v1\"});
        on_rollback(|| { log(\"second\"); docker_list(); }); name = \"y\"; fail(\"x\");");
    let unwound = played.records().iter().position(|record| record.entry.name() == "unwind_started").unwrap();
    let after: Vec<String> = played.records()[unwound + 1..]
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::Intended { intent } => Some(format!("{} {}", intent.kind, intent.subject)),
            Entry::Logged { text, .. } => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(after, ["second", "docker_list ", "docker_remove two", "first y", "docker_remove one"]);
    assert_eq!((played.status(), &played.before), (RunStatus::Failed, &played.after));
}

#[test]
fn a_closure_that_fails_leaves_the_run_stuck_with_instructions() {
    let played = run("docker_run(#{name: \"one\", image: \"web:v1\"}); on_rollback(|| fail(\"cannot\")); fail(\"x\");");
    assert_eq!((played.status(), played.end().exit_code), (RunStatus::Stuck, 3));
    assert!(played.end().remaining[0].what.contains("cannot"), "{:?}", played.end().remaining);
    assert!(played.end().remaining[1].command.as_ref().unwrap().contains("docker_remove"));
    assert_eq!(played.error(), "x");
}

#[test]
fn what_is_below_a_guard_that_fails_is_neither_taken_back_nor_offered() {
    let run_one = |name: &str| format!("docker_run(#{{name: \"{name}\", image: \"web:v1\"}});");
    let guarded = |closure: &str| {
        let (one, two) = (run_one("one"), run_one("two"));
        format!(
            "{one} on_rollback(|| log(\"below\")); on_rollback({closure}, \"deployer run web.rhai\"); {two} fail(\"x\");"
        )
    };
    let held = run(&guarded("|| fail(\"rows\")"));
    assert_eq!((held.status(), held.said().len()), (RunStatus::Stuck, 0));
    let left = &held.end().remaining;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].what.contains("rows") && left[0].what.contains("stays as it is"), "{left:?}");
    let typed = format!("deployer resolve {} && deployer run web.rhai --engine sim", held.run);
    assert_eq!(left[0].command.as_deref(), Some(typed.as_str()));
    assert_eq!(held.after.containers.keys().collect::<Vec<_>>(), ["one"], "what is above it is taken back");
    // What fails above it hides what is below it, too.
    let refused =
        |nth| FaultRule { kind: "docker_remove".into(), subject: String::new(), nth, fault: FaultKind::Refused };
    let above = (1..9).fold(play(&guarded("|| log(\"guard\")")), |play, nth| play.fault(refused(nth))).run();
    let commands: Vec<_> = above.end().remaining.iter().filter_map(|left| left.command.clone()).collect();
    assert_eq!(above.status(), RunStatus::Stuck);
    assert!(
        commands.len() == 2 && commands[0].contains("docker_remove") && commands[1].contains("web.rhai"),
        "{commands:?}"
    );
    let open = run(&guarded("|| log(\"guard\")"));
    assert_eq!((open.status(), open.said()), (RunStatus::Failed, vec!["guard".to_owned(), "below".to_owned()]));
}

#[test]
fn on_finish_is_called_in_every_ending_and_cannot_change_it() {
    let finish = "on_finish(|end| log(`${end.status} ${end.committed} ${end.error}`));";
    for (script, said, status) in [
        ("", "succeeded false ", RunStatus::Succeeded),
        ("commit();", "succeeded true ", RunStatus::Succeeded),
        ("docker_run(#{name: \"a1\", image: \"web:v1\"}); fail(\"x\");", "rolled_back false x", RunStatus::Failed),
        ("docker_run(1);", "failed false `docker_run` takes a map here, not an integer", RunStatus::Invalid),
        (
            "docker_run(#{name: \"a1\", image: \"web:v1\"}); on_rollback(|| throw 1); fail(\"x\");",
            "stuck false x",
            RunStatus::Stuck,
        ),
    ] {
        let played = run(&format!("{finish} {script}"));
        assert_eq!(played.said(), [said], "{script}");
        assert_eq!(played.status(), status);
    }
    let played = run("on_finish(|end| fail(\"oh\")); on_finish(|end| log(\"still\")); 7");
    assert_eq!(played.value(), 7);
    assert_eq!(played.said(), ["still", "`on_finish` failed: oh"]);
}

const BRANCHES: &str = "let x = 1;
    let r = parallel([
        || { x += 1; docker_run(#{name: \"one\", image: \"web:v1\"}); sleep(\"1s\"); docker_list(); x },
        || { x += 10; docker_run(#{name: \"two\", image: \"web:v1\"}); parallel([|| now(), || now()]); x },
        || { log(\"third\"); x },
    ]);
    docker_list(); r + [x]";

#[test]
fn branches_have_their_own_copies_and_places() {
    let places = || {
        let played = run(BRANCHES);
        assert_eq!(played.value(), &json!([2, 11, 1, 1]));
        let mut intents: Vec<String> =
            played.intents().iter().map(|intent| format!("{} {}", intent.seq, intent.kind)).collect();
        intents.sort();
        intents
    };
    let first = places();
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
        assert_eq!(places(), first);
    }
}

#[test]
fn the_first_failure_in_the_order_of_the_script_counts_and_all_is_taken_back() {
    let played = run("parallel([
        || { docker_run(#{name: \"one\", image: \"web:v1\"}); sleep(\"1s\"); fail(\"one\"); },
        || { docker_run(#{name: \"two\", image: \"web:v1\"}); fail(\"two\"); },
    ])");
    assert_eq!((played.error().as_str(), played.status()), ("one", RunStatus::Failed));
    assert_eq!(played.before, played.after);
    assert_eq!(played.effects().iter().filter(|effect| effect.starts_with("docker_remove")).count(), 2);
}

#[test]
fn parallel_refuses_what_is_no_closure_or_too_much() {
    assert_eq!(run("parallel([1])").error(), "`parallel` takes closures, not an integer");
    assert!(run("let a = []; for i in 0..65 { a.push(|| 1); } parallel(a)").error().contains("at most 64 closures"));
    assert_eq!(run("parallel([])").value(), &json!([]));
}

#[test]
fn branches_import_the_same_module_at_once() {
    let script = "let f = []; for i in 0..16 { f.push(|| { import \"m\" as m; m::two() }); } parallel(f)";
    for _ in 0..10 {
        let played = play(script).module("m", "fn two() { 2 }").run();
        assert_eq!(played.value(), &json!(vec![2; 16]));
    }
}

#[test]
fn retry_tries_in_virtual_time() {
    let began = Instant::now();
    let script = "let n = 0; let r = retry(#{attempts: 4, delay: \"10m\", backoff: 2}, || { n += 1; if n < 3 { fail(\"not yet\"); } n });
        [r, n, now().unix_ms]";
    let played = run(script);
    assert_eq!(played.said(), ["attempt 1 of 4 failed: not yet", "attempt 2 of 4 failed: not yet"]);
    assert_eq!(played.value()[0], 3);
    assert_eq!(played.effects(), ["sleep 10m", "sleep 20m", "now"]);
    assert!(began.elapsed() < Duration::from_secs(20));
    let played = run("retry(#{attempts: 2, delay: ()}, || fail(\"never\"))");
    assert_eq!((played.error().as_str(), played.effects().len()), ("never", 1));
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
fn retry_repeats_failed_effects_and_their_undos_stay_right() {
    let script =
        "retry(#{attempts: 3, delay: \"1s\"}, || docker_run(#{name: \"web\", image: \"web:v1\"})); fail(\"x\");";
    let fault = FaultRule { kind: "docker_run".into(), subject: String::new(), nth: 1, fault: FaultKind::Refused };
    let played = play(script).fault(fault).run();
    assert_eq!((played.status(), &played.before), (RunStatus::Failed, &played.after));
}
