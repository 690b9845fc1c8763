//! The fold of a run's entries: it refuses every entry that cannot follow, and never panics.

use deployer::base::seq::Seq;
use deployer::effect::{EffectError, ErrorKind};
use deployer::journal::entry::{Entry, EntryAccess, EntryRecovery, Intent, Level, RunEnd, RunStatus, UndoRecord};
use deployer::journal::run_state::RunState;
use proptest::prelude::*;
use serde_json::json;

use crate::test_run::header;

fn end() -> RunEnd {
    RunEnd {
        status: RunStatus::Succeeded,
        exit_code: 0,
        error: None,
        report: None,
        remaining: Vec::new(),
        committed: false,
        value: json!(null),
        facts: Default::default(),
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let seq = || (1u32..5).prop_map(|number| number.to_string().parse::<Seq>().unwrap());
    let undo = prop_oneof![
        Just(UndoRecord::Nothing),
        Just(UndoRecord::Effect { kind: "docker_remove".into(), args: json!({"container": "web"}) }),
        Just(UndoRecord::Impossible { why: "gone".into() }),
    ];
    let kind = prop_oneof![Just("docker_run"), Just("lock"), Just("unlock"), Just("docker_list")];
    let intended =
        (seq(), undo, kind, any::<bool>(), proptest::option::of(seq())).prop_map(|(seq, undo, kind, write, undoes)| {
            let access = if write { EntryAccess::Write } else { EntryAccess::Read };
            let recovery = EntryRecovery::Observe;
            let (args, subject) = (json!({}), "web".to_owned());
            let intent = Intent { seq, kind: kind.into(), subject, args, access, recovery, undo, site: None, undoes };
            Entry::Intended { intent: Box::new(intent) }
        });
    let failed = (seq(), any::<bool>()).prop_map(|(seq, applied)| {
        let error = EffectError::new(ErrorKind::Failed, "x");
        Entry::Failed { seq, error: if applied { error } else { error.not_applied() }, elapsed_ms: 1 }
    });
    prop_oneof![
        2 => Just(Entry::RunStarted { header: Box::new(header(&json!({}), "d".into())) }),
        8 => intended,
        8 => seq().prop_map(|seq| Entry::Completed { seq, outcome: json!(null), elapsed_ms: 1 }),
        4 => failed,
        1 => Just(Entry::Logged { seq: None, level: Level::Info, text: "x".into() }),
        2 => seq().prop_map(|seq| Entry::RollbackRegistered { seq, site: None, otherwise: None }),
        1 => seq().prop_map(|seq| Entry::RollbackCalled { seq }),
        1 => seq().prop_map(|seq| Entry::RollbackFailed { seq, why: "cannot".into() }),
        1 => seq().prop_map(|seq| Entry::Committed { seq }),
        1 => Just(Entry::RollbackStarted { reason: "x".into() }),
        1 => Just(Entry::RunEnded { end: Box::new(end()) }),
    ]
}

proptest! {
    #[test]
    fn any_sequence_is_folded_or_refused(entries in proptest::collection::vec(entry(), 0..60)) {
        let mut state = RunState::default();
        state.apply(&Entry::RunStarted { header: Box::new(header(&json!({}), "d".into())) }).unwrap();
        for entry in &entries {
            let before = format!("{state:?}");
            let legal = state.check(entry).is_ok();
            let (ended, rolling_back) = (state.end.is_some(), state.rolling_back);
            let accepted = state.apply(entry).is_ok();
            prop_assert_eq!(legal, accepted);
            if !accepted {
                prop_assert_eq!(before, format!("{:?}", state), "a refused entry changes nothing");
                continue;
            }
            prop_assert!(!ended, "no entry follows the end");
            let second = matches!(entry, Entry::RunStarted { .. });
            prop_assert!(!second, "there is only one start");
            if rolling_back {
                let late = matches!(entry, Entry::Committed { .. } | Entry::RollbackStarted { .. });
                prop_assert!(!late, "no commit or second rollback during a rollback");
            }
            if let Entry::Committed { .. } = entry {
                prop_assert!(state.undo_stack.iter().all(|step| state.under_way.contains_key(&step.seq)));
            }
        }
    }

    #[test]
    fn entries_survive_a_json_round_trip(entry in entry()) {
        let text = serde_json::to_string(&entry).unwrap();
        prop_assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }
}
