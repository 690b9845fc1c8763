//! Which effects a replay answers from the journal, which it performs again, and where it stops.

use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::effect::ErrorKind;
use deployer::journal::entry::{Entry, Purpose, Record, RunEnd, RunStatus, RunSummary};
use deployer::journal::{Durability, Journal, JournalError};
use deployer::run::reopen::{Decisions, ReopenError};

use crate::crash::{Crash, CrashPoint, crashing};
use crate::shipped_deploys::deploys;
use crate::test_run::{FinishedRun, test_run};

/// A run that is killed as soon as this many entries are written.
fn killed(script: &str, entries: u64) -> FinishedRun {
    test_run(script).crash(CrashPoint::After(entries)).run()
}

/// Number of the entry with the intent of the `nth` effect of this kind.
fn intent(script: &str, kind: &str, nth: usize) -> u64 {
    let whole = test_run(script).run();
    let records = whole.records().into_iter().filter(|record| {
        let Entry::Intended { intent } = &record.entry else { return false };
        intent.kind == kind
    });
    records.map(|record| record.n).nth(nth - 1).unwrap()
}

fn decide(finished: &FinishedRun, decisions: Decisions) -> Result<RunEnd, ReopenError> {
    finished.reopen(finished.journal.clone(), finished.world.clone(), Purpose::Resume, decisions)
}

#[test]
fn messages_and_notifications_are_not_repeated() {
    let script = r#"
        log("one");
        print("two");
        docker_run(#{name: "aa", image: "web:v1"});
        step "three" {
            notify(#{channel: "webhook", url: "http://hook", message: "m"});
            warn("four");
        }
        docker_run(#{name: "bb", image: "web:v1"});
        log("five");
    "#;
    let whole = test_run(script).run();
    assert_eq!(whole.status(), RunStatus::Succeeded, "{}", whole.report());
    let finished = killed(script, intent(script, "docker_run", 2));
    let end = finished.resume();
    assert_eq!(end.status, RunStatus::Succeeded, "{:?}", end.report);
    assert_eq!(finished.messages(), ["one", "two", "four", "five"]);
    let notifications = finished.effects().iter().filter(|effect| effect.starts_with("notify")).count();
    assert_eq!(notifications, 1, "{:#?}", finished.effects());
}

#[test]
fn branches_are_replayed_in_any_order_of_completion() {
    let script = r#"
        let names = parallel([
            || { docker_run(#{name: "aa", image: "web:v1"}); sleep("3s"); docker_inspect("aa").name },
            || { sleep("1s"); docker_run(#{name: "bb", image: "web:v1"}); docker_inspect("bb").name },
            || { docker_run(#{name: "cc", image: "web:v1"}).name },
        ]);
        docker_run(#{name: "dd", image: "web:v1"});
        names
    "#;
    let entries = test_run(script).run().records().len() as u64;
    for when in (2..entries).flat_map(|n| [CrashPoint::After(n), CrashPoint::Before(n)]) {
        let finished = test_run(script).crash(when).run();
        if finished.names().last() == Some(&"run_ended") {
            continue;
        }
        let end = finished.resume();
        assert_eq!(end.status, RunStatus::Succeeded, "{when:?}: {:?}", end.report);
        assert_eq!(end.value, serde_json::json!(["aa", "bb", "cc"]), "{when:?}");
        let names: Vec<String> = finished.world.snapshot().containers.into_keys().collect();
        assert_eq!(names, ["aa", "bb", "cc", "dd"], "{when:?}");
    }
}

#[test]
fn an_operator_decides_whether_a_program_was_run() {
    let script = r#"docker_run(#{name: "aa", image: "web:v1"}); docker_exec("aa", ["seed"]); log("done");"#;
    let finished = killed(script, intent(script, "docker_exec", 1));
    let undecided = decide(&finished, Decisions::default()).unwrap_err();
    let ReopenError::Undecided(intents) = undecided else { panic!("{undecided:?}") };
    assert_eq!(intents.iter().map(|intent| intent.kind.as_str()).collect::<Vec<_>>(), ["docker_exec"]);
    let wrong_position = Decisions { skip: ["99".parse().unwrap()].into(), ..Decisions::default() };
    assert!(matches!(decide(&finished, wrong_position), Err(ReopenError::NothingToDecide(_))));
    let skip = Decisions { skip: [intents[0].seq.clone()].into(), ..Decisions::default() };
    let end = decide(&finished, skip).unwrap();
    assert_eq!(end.status, RunStatus::Succeeded, "{:?}", end.report);
    assert_eq!(finished.messages(), ["done"]);
}

#[test]
fn a_program_declared_safe_to_repeat_is_run_again() {
    for option in ["idempotent: true", "done_when: [\"false\"]"] {
        let script = format!(
            r#"docker_run(#{{name: "aa", image: "web:v1"}}); docker_exec("aa", ["seed"], #{{{option}}}); log("done");"#
        );
        let finished = killed(&script, intent(&script, "docker_exec", 1));
        let end = finished.resume();
        assert_eq!(end.status, RunStatus::Succeeded, "{option}: {:?}", end.report);
        assert_eq!(finished.messages(), ["done"]);
    }
}

#[test]
fn reads_after_the_last_change_are_performed_again() {
    let script = r#"
        docker_run(#{name: "aa", image: "web:v1"});
        let b = docker_inspect("bb", #{missing_ok: true});
        log(if b == () { "none" } else { "there" });
        sleep("1s");
        docker_run(#{name: "cc", image: "web:v1"});
    "#;
    let finished = killed(script, intent(script, "sleep", 1));
    let made = test_run(r#"docker_run(#{name: "bb", image: "web:v1"})"#).in_world(finished.world.clone()).run();
    assert_eq!(made.status(), RunStatus::Succeeded);
    let end = finished.resume();
    assert_eq!(end.status, RunStatus::Succeeded, "{:?}", end.report);
    assert_eq!(finished.messages(), ["none", "there"]);
}

#[test]
fn a_divergence_stops_the_resume_and_shows_the_difference() {
    // Reads before the first change are firm. A script cannot diverge here, so the test changes its text in the
    // journal.
    let script = r#"
        let b = docker_inspect("bb", #{missing_ok: true});
        docker_run(#{name: if b == () { "aa" } else { "zz" }, image: "web:v1"});
        docker_run(#{name: "cc", image: "web:v1"});
    "#;
    let finished = killed(script, intent(script, "docker_run", 2));
    let source = test_run(script).script.replace("\"aa\"", "\"yy\"");
    finished.journal.keep_source(&digest_of(&finished), &source).unwrap();
    let before = finished.world.snapshot();
    let end = finished.resume();
    assert_eq!((end.status, end.exit_code), (RunStatus::Running, 5), "{:?}", end.report);
    let report = end.report.unwrap();
    assert!(report.contains("name: \"aa\"") && report.contains("name: \"yy\""), "{report}");
    assert!(report.contains("test.rhai"), "{report}");
    assert_eq!(finished.world.snapshot().containers, before.containers);
    let end = finished.abort();
    assert_eq!(end.status, RunStatus::Aborted, "{:?}", end.remaining);
    assert!(finished.world.snapshot().containers.is_empty());
}

fn digest_of(finished: &FinishedRun) -> String {
    let records = finished.records();
    let Entry::RunStarted { header } = &records[0].entry else { panic!("no header") };
    header.digest.clone()
}

#[test]
fn a_health_check_is_repeated_before_the_resume_continues() {
    let script = r#"
        docker_run(#{name: "blue", image: "web:v1", ports: ["8080:5000"]});
        commit();
        let green = docker_run(#{name: "green", image: "web:v2", ports: ["8081:5000"]});
        health_wait(green, #{path: "/", port: 5000});
        commit();
        docker_stop("blue");
    "#;
    let finished = killed(script, intent(script, "docker_stop", 1));
    let dead = test_run(r#"docker_kill("green")"#).in_world(finished.world.clone()).run();
    assert_eq!(dead.status(), RunStatus::Succeeded);
    let end = finished.resume();
    assert_eq!(end.status, RunStatus::Failed, "{:?}", end.report);
    let blue = &finished.world.snapshot().containers["blue"];
    assert!(format!("{blue:?}").contains("Running"), "blue must keep serving: {blue:?}");
}

#[test]
fn closures_of_on_rollback_are_called_by_an_abort() {
    let script = r#"
        docker_run(#{name: "aa", image: "web:v1"});
        on_rollback(|| docker_run(#{name: "undone", image: "web:v1"}));
        on_finish(|end| log(`finished: ${end.status}`));
        docker_run(#{name: "bb", image: "web:v1"});
        sleep("1s");
    "#;
    let finished = killed(script, intent(script, "sleep", 1));
    let end = finished.abort();
    assert_eq!(end.status, RunStatus::Aborted, "{:?}", end.remaining);
    let names: Vec<String> = finished.world.snapshot().containers.into_keys().collect();
    assert_eq!(names, ["undone"]);
    assert_eq!(finished.messages(), ["finished: rolled_back"]);
}

#[test]
fn a_resume_that_is_killed_is_resumed() {
    let mut cases = 0;
    for deploy in deploys().into_iter().filter(|deploy| ["blue-green", "safe: rebuild"].contains(&deploy.name)) {
        let entries = deploy.test_run().run().records().len() as u64;
        // A sample of all pairs. `DEPLOYER_SWEEP=all` runs all of them.
        let all = std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all");
        let (of_run, of_resume) = if all { (1, 1) } else { (7, 5) };
        for first in (2..entries).step_by(of_run) {
            for second in (1..entries).step_by(of_resume).flat_map(|n| [CrashPoint::After(n), CrashPoint::Before(n)]) {
                let finished = deploy.test_run().crash(CrashPoint::After(first)).run();
                if finished.names().last() == Some(&"run_ended") {
                    continue;
                }
                let crash = Crash::new(Some(second));
                let (journal, world) = crashing(&crash, finished.journal.clone(), finished.world.clone());
                let killed = finished.reopen(journal, world, Purpose::Resume, Decisions::default());
                if !crash.has_happened() {
                    break;
                }
                drop(killed);
                if finished.names().last() == Some(&"run_ended") {
                    continue;
                }
                cases += 1;
                let end = finished.resume();
                let context = format!("{} {first}, {second:?}", deploy.name);
                assert_eq!(end.status, RunStatus::Succeeded, "{context}: {:?}", end.report);
                let answer =
                    finished.world.response_on_port(crate::shipped_deploys::PORT).map(|answer| answer.response.body);
                assert_eq!(answer.as_deref(), Some(deploy.new), "{context}");
                let snapshot = finished.world.snapshot();
                assert_eq!(crate::host_snapshots::without_releases(&snapshot), deploy.names, "{context}");
            }
        }
    }
    assert!(cases > 40, "only {cases}");
}

#[test]
fn a_run_that_another_process_writes_to_is_abandoned() {
    let script =
        r#"docker_run(#{name: "aa", image: "web:v1"}); sleep("1s"); docker_run(#{name: "bb", image: "web:v1"});"#;
    let finished = killed(script, intent(script, "sleep", 1));
    let other = Arc::new(DoubleWritingJournal(finished.journal.clone()));
    let end = finished.reopen(other, finished.world.clone(), Purpose::Resume, Decisions::default());
    match end {
        Err(ReopenError::Journal(error)) => assert!(error.to_string().contains("another process"), "{error}"),
        Err(ReopenError::Effect(error)) => assert_eq!(error.kind, ErrorKind::Journal),
        end => panic!("{end:?}"),
    }
    assert!(!finished.world.snapshot().containers.contains_key("bb"));
}

/// A journal that another process also writes to.
struct DoubleWritingJournal(Arc<dyn Journal>);

impl Journal for DoubleWritingJournal {
    fn append_as(
        &self,
        run: &RunId,
        number: Option<u64>,
        at_ms: i64,
        entry: &Entry,
        durability: Durability,
    ) -> Result<u64, JournalError> {
        self.0.append(run, at_ms, entry, durability)?;
        self.0.append_as(run, number, at_ms, entry, durability)
    }

    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError> {
        self.0.keep_source(digest, text)
    }

    fn source(&self, digest: &str) -> Result<Option<String>, JournalError> {
        self.0.source(digest)
    }

    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        self.0.records(run)
    }

    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError> {
        self.0.remove(runs)
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
        self.0.runs(limit)
    }
}
