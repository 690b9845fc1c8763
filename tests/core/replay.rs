//! What a replay answers, what it asks afresh, and where it stops.

use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::effect::ErrorKind;
use deployer::journal::entry::{Entry, Purpose, Record, RunEnd, RunStatus, RunSummary};
use deployer::journal::{Durability, Journal, JournalError};
use deployer::run::reopen::{Decisions, ReopenError};
use deployer::world::World;

use crate::crash::{Crash, When};
use crate::deploys::deploys;
use crate::play::{Played, play};

/// Killed as soon as this many entries are written.
fn killed(script: &str, entries: u64) -> Played {
    play(script).crash(Crash::new(When::After(entries))).run()
}

/// Number of the entry that announces the `nth` effect of this kind.
fn intent(script: &str, kind: &str, nth: usize) -> u64 {
    let whole = play(script).run();
    let records = whole.records().into_iter().filter(|record| {
        let Entry::Intended { intent } = &record.entry else { return false };
        intent.kind == kind
    });
    records.map(|record| record.n).nth(nth - 1).unwrap()
}

fn decide(played: &Played, decisions: Decisions) -> Result<RunEnd, ReopenError> {
    played.reopen(played.journal.clone(), played.world.clone(), Purpose::Resume, decisions)
}

#[test]
fn what_was_said_and_told_is_not_repeated() {
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
    let whole = play(script).run();
    assert_eq!(whole.status(), RunStatus::Succeeded, "{}", whole.report());
    let played = killed(script, intent(script, "docker_run", 2));
    let end = played.resume();
    assert_eq!(end.status, RunStatus::Succeeded, "{:?}", end.report);
    assert_eq!(played.said(), ["one", "two", "four", "five"]);
    let told = played.effects().iter().filter(|effect| effect.starts_with("notify")).count();
    assert_eq!(told, 1, "{:#?}", played.effects());
}

#[test]
fn branches_are_replayed_whatever_came_first() {
    let script = r#"
        let names = parallel([
            || { docker_run(#{name: "aa", image: "web:v1"}); sleep("3s"); docker_inspect("aa").name },
            || { sleep("1s"); docker_run(#{name: "bb", image: "web:v1"}); docker_inspect("bb").name },
            || { docker_run(#{name: "cc", image: "web:v1"}).name },
        ]);
        docker_run(#{name: "dd", image: "web:v1"});
        names
    "#;
    let entries = play(script).run().records().len() as u64;
    for when in (2..entries).flat_map(|n| [When::After(n), When::Before(n)]) {
        let played = play(script).crash(Crash::new(when)).run();
        if played.names().last() == Some(&"run_ended") {
            continue;
        }
        let end = played.resume();
        assert_eq!(end.status, RunStatus::Succeeded, "{when:?}: {:?}", end.report);
        assert_eq!(end.value, serde_json::json!(["aa", "bb", "cc"]), "{when:?}");
        let names: Vec<String> = played.world.snapshot().containers.into_keys().collect();
        assert_eq!(names, ["aa", "bb", "cc", "dd"], "{when:?}");
    }
}

#[test]
fn a_program_that_may_have_run_is_for_a_person_to_decide() {
    let script = r#"docker_run(#{name: "aa", image: "web:v1"}); docker_exec("aa", ["seed"]); log("done");"#;
    let played = killed(script, intent(script, "docker_exec", 1));
    let undecided = decide(&played, Decisions::default()).unwrap_err();
    let ReopenError::Undecided(intents) = undecided else { panic!("{undecided:?}") };
    assert_eq!(intents.iter().map(|intent| intent.kind.as_str()).collect::<Vec<_>>(), ["docker_exec"]);
    let elsewhere = Decisions { skip: ["99".parse().unwrap()].into(), ..Decisions::default() };
    assert!(matches!(decide(&played, elsewhere), Err(ReopenError::NothingToDecide(_))));
    let skip = Decisions { skip: [intents[0].seq.clone()].into(), ..Decisions::default() };
    let end = decide(&played, skip).unwrap();
    assert_eq!(end.status, RunStatus::Succeeded, "{:?}", end.report);
    assert_eq!(played.said(), ["done"]);
}

#[test]
fn a_program_that_says_so_is_run_again() {
    for promise in ["idempotent: true", "done_when: [\"false\"]"] {
        let script = format!(
            r#"docker_run(#{{name: "aa", image: "web:v1"}}); docker_exec("aa", ["seed"], #{{{promise}}}); log("done");"#
        );
        let played = killed(&script, intent(&script, "docker_exec", 1));
        let end = played.resume();
        assert_eq!(end.status, RunStatus::Succeeded, "{promise}: {:?}", end.report);
        assert_eq!(played.said(), ["done"]);
    }
}

#[test]
fn what_was_only_read_is_read_afresh() {
    let script = r#"
        docker_run(#{name: "aa", image: "web:v1"});
        let b = docker_inspect("bb", #{missing_ok: true});
        log(if b == () { "none" } else { "there" });
        sleep("1s");
        docker_run(#{name: "cc", image: "web:v1"});
    "#;
    let played = killed(script, intent(script, "sleep", 1));
    let made = play(r#"docker_run(#{name: "bb", image: "web:v1"})"#).in_world(played.world.clone()).run();
    assert_eq!(made.status(), RunStatus::Succeeded);
    let end = played.resume();
    assert_eq!(end.status, RunStatus::Succeeded, "{:?}", end.report);
    assert_eq!(played.said(), ["none", "there"]);
}

#[test]
fn another_way_after_a_change_stops_with_the_difference() {
    // What was read before the first change is firm; what the journal has of it is altered here, as no script can.
    let script = r#"
        let b = docker_inspect("bb", #{missing_ok: true});
        docker_run(#{name: if b == () { "aa" } else { "zz" }, image: "web:v1"});
        docker_run(#{name: "cc", image: "web:v1"});
    "#;
    let played = killed(script, intent(script, "docker_run", 2));
    let source = play(script).script.replace("\"aa\"", "\"yy\"");
    played.journal.keep_source(&digest_of(&played), &source).unwrap();
    let before = played.world.snapshot();
    let end = played.resume();
    assert_eq!((end.status, end.exit_code), (RunStatus::Running, 5), "{:?}", end.report);
    let report = end.report.unwrap();
    assert!(report.contains("name: \"aa\"") && report.contains("name: \"yy\""), "{report}");
    assert!(report.contains("test.rhai"), "{report}");
    assert_eq!(played.world.snapshot().containers, before.containers);
    let end = played.abort();
    assert_eq!(end.status, RunStatus::Aborted, "{:?}", end.remaining);
    assert!(played.world.snapshot().containers.is_empty());
}

fn digest_of(played: &Played) -> String {
    let records = played.records();
    let Entry::RunStarted { header } = &records[0].entry else { panic!("no header") };
    header.digest.clone()
}

#[test]
fn a_container_that_is_well_no_more_is_not_relied_on() {
    let script = r#"
        docker_run(#{name: "blue", image: "web:v1", ports: ["8080:5000"]});
        commit();
        let green = docker_run(#{name: "green", image: "web:v2", ports: ["8081:5000"]});
        health_wait(green, #{path: "/", port: 5000});
        commit();
        docker_stop("blue");
    "#;
    let played = killed(script, intent(script, "docker_stop", 1));
    let dead = play(r#"docker_kill("green")"#).in_world(played.world.clone()).run();
    assert_eq!(dead.status(), RunStatus::Succeeded);
    let end = played.resume();
    assert_eq!(end.status, RunStatus::Failed, "{:?}", end.report);
    let blue = &played.world.snapshot().containers["blue"];
    assert!(format!("{blue:?}").contains("Running"), "blue must serve on: {blue:?}");
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
    let played = killed(script, intent(script, "sleep", 1));
    let end = played.abort();
    assert_eq!(end.status, RunStatus::Aborted, "{:?}", end.remaining);
    let names: Vec<String> = played.world.snapshot().containers.into_keys().collect();
    assert_eq!(names, ["undone"]);
    assert_eq!(played.said(), ["finished: rolled_back"]);
}

#[test]
fn a_resume_that_is_killed_is_resumed() {
    let mut cases = 0;
    for deploy in deploys().into_iter().filter(|deploy| ["blue-green", "safe: rebuild"].contains(&deploy.name)) {
        let entries = deploy.play().run().records().len() as u64;
        // A sample of all pairs; `DEPLOYER_SWEEP=all` takes all of them.
        let all = std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all");
        let (of_run, of_resume) = if all { (1, 1) } else { (7, 5) };
        for first in (2..entries).step_by(of_run) {
            for second in (1..entries).step_by(of_resume).flat_map(|n| [When::After(n), When::Before(n)]) {
                let played = deploy.play().crash(Crash::new(When::After(first))).run();
                if played.names().last() == Some(&"run_ended") {
                    continue;
                }
                let crash = Arc::new(Crash::new(second));
                let journal: Arc<dyn Journal> = crash.journal(played.journal.clone());
                let world: Arc<dyn World> = crash.world(played.world.clone());
                let killed = played.reopen(journal, world, Purpose::Resume, Decisions::default());
                if !crash.is_dead() {
                    break;
                }
                drop(killed);
                if played.names().last() == Some(&"run_ended") {
                    continue;
                }
                cases += 1;
                let end = played.resume();
                let place = format!("{} {first}, {second:?}", deploy.name);
                assert_eq!(end.status, RunStatus::Succeeded, "{place}: {:?}", end.report);
                let answer = played.world.answer(crate::deploys::PORT).map(|answer| answer.page.body);
                assert_eq!(answer.as_deref(), Some(deploy.new), "{place}");
                let names: Vec<String> = played.world.snapshot().containers.into_keys().collect();
                assert_eq!(names, deploy.names, "{place}");
            }
        }
    }
    assert!(cases > 40, "only {cases}");
}

#[test]
fn a_run_that_two_processes_write_to_is_left_by_both() {
    let script =
        r#"docker_run(#{name: "aa", image: "web:v1"}); sleep("1s"); docker_run(#{name: "bb", image: "web:v1"});"#;
    let played = killed(script, intent(script, "sleep", 1));
    let other = Arc::new(Intruder(played.journal.clone()));
    let end = played.reopen(other, played.world.clone(), Purpose::Resume, Decisions::default());
    match end {
        Err(ReopenError::Journal(error)) => assert!(error.to_string().contains("another process"), "{error}"),
        Err(ReopenError::Effect(error)) => assert_eq!(error.kind, ErrorKind::Journal),
        end => panic!("{end:?}"),
    }
    assert!(!played.world.snapshot().containers.contains_key("bb"));
}

/// A journal that somebody else writes to as well.
struct Intruder(Arc<dyn Journal>);

impl Journal for Intruder {
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError> {
        self.0.append(run, at_ms, entry, durability)?;
        self.0.append(run, at_ms, entry, durability)
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
