//! Closures of `on_rollback` under kills: each that was registered is called to its end exactly once, or the run is
//! stuck and says so. The branches of `parallel` run on real threads here.

use std::collections::BTreeMap;

use deployer::base::seq::Seq;
use deployer::gateway::fault::{FaultKind, FaultRule};
use deployer::journal::entry::{Entry, Purpose, RunEnd, RunStatus};
use deployer::run::reopen::{Decisions, ReopenError};

use crate::crash::{Crash, CrashPoint, crashing};
use crate::test_run::{FinishedRun, TestRun, run, test_run};

/// Closures in branches, in steps, in nested branches, and closures that run branches themselves.
const BRANCHES: &str = r#"
    fn change(name) {
        docker_run(#{ name: name, image: "web:v1" });
        on_rollback(|| { exec(["undo", name, "1"]); log(`half of ${name}`); exec(["undo", name, "2"]); });
    }
    change("aa");
    parallel([
        || { change("bb"); step "in a branch" { change("cc"); sleep("1s"); } },
        || {
            sleep("1s");
            on_rollback(|| parallel([|| exec(["undo", "left"]), || exec(["undo", "right"])]));
            parallel([|| change("dd"), || { sleep("1s"); change("ee"); }]);
            change("ff");
        },
        || change("gg"),
    ]);
    change("hh");
"#;

fn points(entries: u64) -> impl Iterator<Item = CrashPoint> {
    (1..=entries).flat_map(|n| [CrashPoint::After(n), CrashPoint::Before(n)]).filter(|at| *at != CrashPoint::Before(1))
}

/// Returns whether the run is over, so that nothing can be reopened.
fn is_over(finished: &FinishedRun) -> bool {
    finished.names().last() == Some(&"run_ended") || finished.records().is_empty()
}

/// Reopens the run until it ends. The operator knows what happened: a kill before the outcome is written comes after the
/// effect; other effects that are under way were not performed.
fn reopened(finished: &FinishedRun, purpose: Purpose, killed: CrashPoint) -> RunEnd {
    let again = |decisions| finished.reopen(finished.journal.clone(), finished.world.clone(), purpose, decisions);
    match again(Decisions::default()) {
        Err(ReopenError::Undecided(intents)) => {
            let happened =
                |seq: &Seq| matches!(killed, CrashPoint::Before(_)) && intents.len() == 1 && !seq.path().is_empty();
            let (skip, redo) = intents.iter().map(|intent| intent.seq.clone()).partition(happened);
            again(Decisions { redo, skip }).unwrap()
        }
        end => end.unwrap(),
    }
}

/// Lists the closures that were lost or called twice, and their programs that were run twice or not at all.
fn wrong_calls(finished: &FinishedRun) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut registered, mut called): (Vec<Seq>, BTreeMap<Seq, u32>) = Default::default();
    let (mut subjects, mut done): (BTreeMap<Seq, String>, BTreeMap<Seq, u32>) = Default::default();
    for record in finished.records() {
        match record.entry {
            Entry::RollbackRegistered { seq, .. } => registered.push(seq),
            Entry::RollbackCalled { seq } => *called.entry(seq).or_default() += 1,
            Entry::Intended { intent } if intent.kind == "exec" => {
                subjects.insert(intent.seq, intent.subject);
            }
            Entry::Completed { seq, .. } if subjects.contains_key(&seq) => *done.entry(seq).or_default() += 1,
            _ => {}
        }
    }
    for seq in &registered {
        let times = called.get(seq).copied().unwrap_or_default();
        let programs = done.keys().filter(|at| at.is_in_rollback_of(seq)).count();
        if (times, programs) != (1, 2) {
            wrong.push(format!("the closure of {seq} was called {times} times and ran {programs} programs"));
        }
    }
    wrong.extend(done.iter().filter(|(_, times)| **times != 1).map(|(seq, times)| format!("{seq}: {times} times")));
    wrong
}

#[track_caller]
fn every_closure_was_called_once(finished: &FinishedRun, end: &RunEnd, status: RunStatus, context: &str) {
    assert_eq!(end.status, status, "{context}: {:?}", end.remaining);
    let wrong = wrong_calls(finished);
    assert!(wrong.is_empty(), "{context}: {wrong:#?}");
    assert!(finished.world.snapshot().containers.is_empty(), "{context}");
    let mut messages = finished.messages();
    let all = messages.len();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), all, "{context}: a message was repeated");
}

#[test]
fn an_abort_after_a_kill_in_any_branch_calls_every_closure() {
    let entries = run(BRANCHES).records().len() as u64;
    for at in points(entries) {
        let finished = test_run(BRANCHES).crash(at).run();
        if !is_over(&finished) {
            let end = finished.abort();
            every_closure_was_called_once(&finished, &end, RunStatus::Aborted, &format!("{at:?}"));
        }
    }
}

#[test]
fn an_abort_that_is_killed_at_any_entry_repeats_no_part_of_a_closure() {
    let kill = || {
        let entries = test_run(BRANCHES).run().records().len() as u64;
        test_run(BRANCHES).crash(CrashPoint::After(entries - 2)).run()
    };
    let whole = kill();
    let before = whole.records().len();
    whole.abort();
    let entries = (whole.records().len() - before) as u64;
    assert!(entries > 60, "only {entries}");
    for at in points(entries) {
        let finished = kill();
        let crash = Crash::new(Some(at));
        let (journal, world) = crashing(&crash, finished.journal.clone(), finished.world.clone());
        drop(finished.reopen(journal, world, Purpose::Abort, Decisions::default()));
        if !is_over(&finished) {
            let end = reopened(&finished, Purpose::Abort, at);
            every_closure_was_called_once(&finished, &end, RunStatus::Aborted, &format!("{at:?}"));
        }
    }
}

#[test]
fn a_failed_run_that_is_killed_while_it_rolls_back_finishes_its_rollback() {
    let script = format!("{BRANCHES} fail(\"no\");");
    let whole = run(&script);
    assert_eq!(whole.status(), RunStatus::Failed, "{:?}", whole.end().remaining);
    assert_eq!(wrong_calls(&whole), [""; 0]);
    let started = whole.names().iter().position(|name| *name == "rollback_started").unwrap() as u64;
    for at in points(whole.records().len() as u64).filter(|at| *at >= CrashPoint::After(started + 1)) {
        let finished = test_run(&script).crash(at).run();
        if !is_over(&finished) && finished.names().contains(&"rollback_started") {
            let end = reopened(&finished, Purpose::Resume, at);
            every_closure_was_called_once(&finished, &end, RunStatus::Failed, &format!("{at:?}"));
        }
    }
}

/// The `nth` program is refused.
fn refused(nth: u32) -> FaultRule {
    FaultRule { kind: "exec".into(), subject: String::new(), nth, fault: FaultKind::Refused }
}

fn failing(nth: u32) -> TestRun {
    let script = "on_rollback(|| { exec([\"undo\", \"1\"]); exec([\"undo\", \"2\"]); }); fail(\"no\");";
    test_run(script).fault(refused(nth))
}

#[test]
fn a_closure_that_fails_is_called_again_from_where_it_failed() {
    let finished = failing(2).run();
    assert_eq!(finished.status(), RunStatus::Failed, "{:?}", finished.end().remaining);
    assert_eq!(wrong_calls(&finished), [""; 0]);
    assert_eq!(finished.effects(), ["exec undo 1", "exec undo 2", "exec undo 2"]);
    assert_eq!(finished.names().iter().filter(|name| **name == "rollback_failed").count(), 1);
}

#[test]
fn a_closure_that_keeps_failing_leaves_the_run_stuck() {
    let finished = run("on_rollback(|| { exec([\"undo\"]); throw \"no use\"; }); fail(\"no\");");
    assert_eq!(finished.status(), RunStatus::Stuck);
    assert_eq!(finished.effects(), ["exec undo"]);
    assert!(!finished.names().contains(&"rollback_called"));
    assert_eq!(finished.names().iter().filter(|name| **name == "rollback_failed").count(), 4);
}

#[test]
fn an_error_that_a_closure_caught_is_not_performed_again() {
    let script = "on_rollback(|| { try { exec([\"undo\", \"1\"]); } catch { exec([\"undo\", \"2\"]); } throw \"no\"; }); \
                  fail(\"no\");";
    let finished = test_run(script).fault(refused(1)).run();
    assert_eq!(finished.effects(), ["exec undo 1", "exec undo 2"]);
}

#[test]
fn a_closure_cannot_register_another_one() {
    for function in ["on_rollback(|| 1)", "on_finish(|end| 1)"] {
        let finished = run(&format!("on_rollback(|| {function}); fail(\"no\");"));
        assert_eq!(finished.status(), RunStatus::Stuck, "{function}");
        let what = &finished.end().remaining[0].what;
        assert!(what.contains("is too late"), "{what}");
    }
}

#[test]
fn a_closure_that_the_replay_does_not_reach_makes_the_run_stuck() {
    let script = "docker_run(#{name: \"aa\", image: \"web:v1\"}); on_rollback(|| exec([\"undo\"])); sleep(\"1s\");";
    let entries = run(script).records().len() as u64;
    let finished = test_run(script).crash(CrashPoint::After(entries - 2)).run();
    let records = finished.records();
    let Entry::RunStarted { header } = &records[0].entry else { panic!("no header") };
    finished.journal.keep_source(&header.digest, "docker_run(#{name: \"aa\", image: \"web:v1\"});").unwrap();
    let end = finished.abort();
    assert_eq!((end.status, end.exit_code), (RunStatus::Stuck, 3));
    assert!(end.remaining[0].what.contains("was not called: the replay did not reach"), "{:?}", end.remaining);
    assert!(!finished.names().contains(&"rollback_called"));
    assert!(finished.world.snapshot().containers.is_empty(), "the rest is undone");
}
