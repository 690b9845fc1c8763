//! A run that is killed at any point is resumed or aborted exactly: the end is that of a run that was never killed, or
//! never begun; nothing is done twice, nothing is left over.

use std::collections::BTreeMap;

use deployer::journal::entry::{Entry, EntryAccess, Purpose, RunEnd, RunStatus};
use deployer::run::reopen::{Decisions, ReopenError};
use deployer::world::sim::Snapshot;

use crate::crash::{Crash, When};
use crate::deploys::{Deploy, comparable, deploys, difference};
use crate::play::Played;
use crate::sample::sampled;

/// Resumes it; where only a person can know whether a program was run, says what is true.
fn resumed(played: &Played, when: When) -> RunEnd {
    let resume = |decisions| played.reopen(played.journal.clone(), played.world.clone(), Purpose::Resume, decisions);
    match resume(Decisions::default()) {
        Ok(end) => end,
        Err(ReopenError::Undecided(intents)) => {
            let places = intents.into_iter().map(|intent| intent.seq).collect();
            resume(match when {
                When::After(_) => Decisions { redo: places, ..Decisions::default() },
                When::Before(_) => Decisions { skip: places, ..Decisions::default() },
            })
            .unwrap()
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Every point at which a run of so many entries can die.
fn points(entries: u64) -> impl Iterator<Item = When> {
    (1..=entries).flat_map(|n| [When::After(n), When::Before(n)]).filter(|when| *when != When::Before(1))
}

/// Writes of the script that were completed more than once.
fn twice(played: &Played) -> Vec<String> {
    let mut intents = BTreeMap::new();
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for record in played.records() {
        match record.entry {
            Entry::Intended { intent } => {
                intents.insert(intent.seq.clone(), intent);
            }
            Entry::Completed { seq, .. } => {
                let intent = &intents[&seq];
                if intent.access == EntryAccess::Write && seq.is_of_script() {
                    *done.entry(format!("{seq} {} {}", intent.kind, intent.subject)).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    done.into_iter().filter(|(_, times)| *times > 1).map(|(what, _)| what).collect()
}

/// What differs between two ends, less what differs between any two runs.
fn unlike(whole: &Snapshot, resumed: &Snapshot) -> String {
    let names = |snapshot: &Snapshot| snapshot.containers.keys().cloned().collect::<Vec<_>>();
    let images = |snapshot: &Snapshot| {
        snapshot.containers.values().map(|container| format!("{container:?}")).collect::<Vec<_>>()
    };
    if names(whole) == names(resumed) && images(whole).len() == images(resumed).len() && whole.locks == resumed.locks {
        return String::new();
    }
    difference(whole, resumed)
}

/// What is wrong with a run that was resumed.
fn wrong_with(deploy: &Deploy, whole: &Played, played: &Played) -> Vec<String> {
    let after = played.world.snapshot();
    let answer = played.world.answer(crate::deploys::PORT).map(|answer| answer.page.body);
    let mut wrong = Vec::new();
    if answer.as_deref() != Some(deploy.new) {
        wrong.push(format!("{answer:?} serves"));
    }
    let unlike = unlike(&whole.after, &after);
    if !unlike.is_empty() {
        wrong.push(unlike);
    }
    wrong.extend(twice(played).into_iter().map(|what| format!("twice: {what}")));
    wrong
}

#[test]
fn a_run_killed_at_every_point_is_resumed_to_the_same_end() {
    let mut cases = 0;
    let mut bad = Vec::new();
    for deploy in deploys() {
        let whole = deploy.play().run();
        for when in sampled(points(whole.records().len() as u64)) {
            let played = deploy.play().crash(Crash::new(when)).run();
            if played.names().last() == Some(&"run_ended") || played.records().is_empty() {
                continue;
            }
            cases += 1;
            let end = resumed(&played, when);
            let mut wrong = wrong_with(&deploy, &whole, &played);
            if end.status != RunStatus::Succeeded {
                wrong.insert(0, format!("{}: {}", end.status, end.report.unwrap_or_default()));
            }
            if !wrong.is_empty() {
                let last = played.intents().last().map(|intent| intent.kind.clone()).unwrap_or_default();
                bad.push(format!("{} {when:?} ({last}): {}", deploy.name, wrong.join("; ")));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {cases}:\n{}", bad.len(), bad.join("\n"));
    assert!(cases > 300, "only {cases}");
}

#[test]
fn a_run_killed_at_every_point_is_aborted_as_if_it_had_never_begun() {
    let mut bad = Vec::new();
    for deploy in deploys() {
        let whole = deploy.play().run();
        for when in sampled(points(whole.records().len() as u64)) {
            let played = deploy.play().crash(Crash::new(when)).run();
            if played.names().last() == Some(&"run_ended") || played.records().is_empty() {
                continue;
            }
            let end = played.abort();
            let after = played.world.snapshot();
            let mut wrong = Vec::new();
            if end.status != RunStatus::Aborted {
                wrong.push(format!("{}: {:?}", end.status, end.remaining));
            }
            if end.committed {
                let answer = played.world.answer(crate::deploys::PORT).map(|answer| answer.page.body);
                if answer.as_deref() != Some(deploy.new) {
                    wrong.push(format!("{answer:?} serves"));
                }
            } else if comparable(&after) != comparable(&played.before) && !deploy.back_by_image {
                wrong.push(difference(&played.before, &after));
            }
            if !after.locks.is_empty() {
                wrong.push("locked".into());
            }
            if !wrong.is_empty() {
                bad.push(format!("{} {when:?}: {}", deploy.name, wrong.join("; ")));
            }
        }
    }
    assert!(bad.is_empty(), "{}:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn what_is_safe_to_repeat_can_be_done_twice() {
    for deploy in deploys() {
        let whole = deploy.play().run();
        let played = deploy.play().twice().run();
        let mut wrong = wrong_with(&deploy, &whole, &played);
        if played.status() != RunStatus::Succeeded {
            wrong.push(played.report());
        }
        assert!(wrong.is_empty(), "{}: {wrong:#?}", deploy.name);
    }
}
