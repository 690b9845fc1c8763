//! A run that is killed at any point can be resumed or aborted. After a resume the host is as if the run had not been
//! killed, after an abort as if it had not started. No effect is performed twice, and nothing is left behind.

use std::collections::BTreeMap;

use deployer::journal::entry::{Entry, EntryAccess, Purpose, RunEnd, RunStatus};
use deployer::run::reopen::{Decisions, ReopenError};
use deployer::world::sim::HostSnapshot;

use crate::crash::CrashPoint;
use crate::host_snapshots::{comparable, difference};
use crate::shipped_deploys::{Deploy, deploys};
use crate::sweep::sampled;
use crate::test_run::{FinishedRun, test_run};

/// Resumes the run. Where an operator must decide whether a program was run, gives the true answer.
fn resumed(finished: &FinishedRun, when: CrashPoint) -> RunEnd {
    let resume =
        |decisions| finished.reopen(finished.journal.clone(), finished.world.clone(), Purpose::Resume, decisions);
    match resume(Decisions::default()) {
        Ok(end) => end,
        Err(ReopenError::Undecided(intents)) => {
            let positions = intents.into_iter().map(|intent| intent.seq).collect();
            resume(match when {
                CrashPoint::After(_) => Decisions { redo: positions, ..Decisions::default() },
                CrashPoint::Before(_) => Decisions { skip: positions, ..Decisions::default() },
            })
            .unwrap()
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Every point at which a run with this many entries can crash.
fn crash_points(entries: u64) -> impl Iterator<Item = CrashPoint> {
    (1..=entries)
        .flat_map(|n| [CrashPoint::After(n), CrashPoint::Before(n)])
        .filter(|when| *when != CrashPoint::Before(1))
}

/// Changes by the script that were completed more than once.
fn repeated_changes(finished: &FinishedRun) -> Vec<String> {
    let mut intents = BTreeMap::new();
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for record in finished.records() {
        match record.entry {
            Entry::Intended { intent } => {
                intents.insert(intent.seq.clone(), intent);
            }
            Entry::Completed { seq, .. } => {
                let intent = &intents[&seq];
                if intent.access == EntryAccess::Write && seq.is_from_script() {
                    *done.entry(format!("{seq} {} {}", intent.kind, intent.subject)).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    done.into_iter().filter(|(_, times)| *times > 1).map(|(what, _)| what).collect()
}

/// Describes the difference between two final states, apart from what differs between any two runs.
fn state_difference(whole: &HostSnapshot, resumed: &HostSnapshot) -> String {
    let names = |snapshot: &HostSnapshot| snapshot.containers.keys().cloned().collect::<Vec<_>>();
    let images = |snapshot: &HostSnapshot| {
        snapshot.containers.values().map(|container| format!("{container:?}")).collect::<Vec<_>>()
    };
    if names(whole) == names(resumed) && images(whole).len() == images(resumed).len() && whole.locks == resumed.locks {
        return String::new();
    }
    difference(whole, resumed)
}

/// Lists what is wrong with a resumed run.
fn wrong_with(deploy: &Deploy, whole: &FinishedRun, finished: &FinishedRun) -> Vec<String> {
    let after = finished.world.snapshot();
    let answer = finished.world.response_on_port(crate::shipped_deploys::PORT).map(|answer| answer.response.body);
    let mut wrong = Vec::new();
    if answer.as_deref() != Some(deploy.new) {
        wrong.push(format!("{answer:?} serves"));
    }
    let state_difference = state_difference(&whole.after, &after);
    if !state_difference.is_empty() {
        wrong.push(state_difference);
    }
    wrong.extend(repeated_changes(finished).into_iter().map(|what| format!("twice: {what}")));
    wrong
}

#[test]
fn a_run_killed_at_every_point_is_resumed_to_the_same_end() {
    let mut cases = 0;
    let mut failures = Vec::new();
    for deploy in deploys() {
        let whole = deploy.test_run().run();
        for when in sampled(crash_points(whole.records().len() as u64)) {
            let finished = deploy.test_run().crash(when).run();
            if finished.names().last() == Some(&"run_ended") || finished.records().is_empty() {
                continue;
            }
            cases += 1;
            let end = resumed(&finished, when);
            let mut wrong = wrong_with(&deploy, &whole, &finished);
            if end.status != RunStatus::Succeeded {
                wrong.insert(0, format!("{}: {}", end.status, end.report.unwrap_or_default()));
            }
            if !wrong.is_empty() {
                let last = finished.intents().last().map(|intent| intent.kind.clone()).unwrap_or_default();
                failures.push(format!("{} {when:?} ({last}): {}", deploy.name, wrong.join("; ")));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases}:\n{}", failures.len(), failures.join("\n"));
    assert!(cases > 300, "only {cases}");
}

#[test]
fn a_run_killed_at_every_point_is_aborted_without_a_trace() {
    let mut failures = Vec::new();
    for deploy in deploys() {
        let whole = deploy.test_run().run();
        for when in sampled(crash_points(whole.records().len() as u64)) {
            let finished = deploy.test_run().crash(when).run();
            if finished.names().last() == Some(&"run_ended") || finished.records().is_empty() {
                continue;
            }
            let end = finished.abort();
            let after = finished.world.snapshot();
            let mut wrong = Vec::new();
            if end.status != RunStatus::Aborted {
                wrong.push(format!("{}: {:?}", end.status, end.remaining));
            }
            if end.committed {
                let answer =
                    finished.world.response_on_port(crate::shipped_deploys::PORT).map(|answer| answer.response.body);
                if answer.as_deref() != Some(deploy.new) {
                    wrong.push(format!("{answer:?} serves"));
                }
            } else if comparable(&after) != comparable(&finished.before) {
                wrong.push(difference(&finished.before, &after));
            }
            if !after.locks.is_empty() {
                wrong.push("locked".into());
            }
            if !wrong.is_empty() {
                failures.push(format!("{} {when:?}: {}", deploy.name, wrong.join("; ")));
            }
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn repeatable_effects_can_be_performed_twice() {
    for deploy in deploys() {
        let whole = deploy.test_run().run();
        let finished = deploy.test_run().repeat_effects().run();
        let mut wrong = wrong_with(&deploy, &whole, &finished);
        if finished.status() != RunStatus::Succeeded {
            wrong.push(finished.report());
        }
        assert!(wrong.is_empty(), "{}: {wrong:#?}", deploy.name);
    }
}

#[test]
fn a_container_that_vanished_before_the_resume_is_not_reported_as_there() {
    for (commit, end_at) in [("", 4), ("commit(); ", 5)] {
        let script = format!("docker_run(#{{name: \"web\", image: \"web:v1\"}}); {commit}volume_create(\"v\");");
        let finished = test_run(&script).crash(CrashPoint::After(end_at)).run();
        let remove = "docker_remove(\"web\", #{force: true, disposable: true});";
        let removed = test_run(remove).in_world(finished.world.clone()).run();
        assert_eq!(removed.status(), RunStatus::Succeeded, "{}", removed.report());
        let end = finished.resume();
        assert_eq!((end.status, end.exit_code, end.committed), (RunStatus::Failed, 1, !commit.is_empty()), "{end:?}");
        let error = end.error.unwrap();
        assert!(error.contains("container `web` was created by this run and no longer exists"), "{error}");
    }
}

#[test]
fn an_abort_is_the_reason_of_its_rollback() {
    let script = "docker_run(#{name: \"web\", image: \"web:v1\"}); volume_create(\"v\");";
    let finished = test_run(script).crash(CrashPoint::After(4)).run();
    finished.abort();
    let reasons = finished.records().into_iter().filter_map(|record| match record.entry {
        Entry::RollbackStarted { reason } => Some(reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["the run was aborted"]);
}

#[test]
fn a_snapshot_that_the_run_itself_pruned_has_not_vanished() {
    let script = "volume_create(\"v\"); volume_snapshot(\"v\"); sleep(\"2s\"); volume_snapshot(\"v\"); \
                  volume_prune(\"v\", #{keep: 1}); log(\"a\"); log(\"b\");";
    let whole = test_run(script).run();
    assert_eq!(whole.status(), RunStatus::Succeeded, "{}", whole.report());
    let finished = test_run(script).crash(CrashPoint::After(whole.records().len() as u64 - 1)).run();
    let end = finished.resume();
    assert_eq!(end.status, RunStatus::Succeeded, "{end:?}");
}
