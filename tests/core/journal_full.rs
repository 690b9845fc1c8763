//! The disk of the journal fills up at every entry in turn.

use deployer::journal::entry::RunStatus;

use crate::shipped_deploys::{PORT, deploys};

#[test]
fn no_effect_is_performed_without_a_journal() {
    for deploy in deploys() {
        let entries = deploy.test_run().run().records().len() as u64;
        for room in 0..entries {
            let finished = deploy.test_run().journal_capacity(room).run();
            let context = format!("{} with room for {room} of {entries}", deploy.name);
            let Ok(end) = &finished.end else {
                assert_eq!((room, &finished.before), (0, &finished.after), "{context}");
                continue;
            };
            let records = finished.records();
            assert_eq!(records.len() as u64, room, "{context}");
            // Effects without an entry were not performed, so the entries explain the state of the host.
            let writes = finished
                .intents()
                .iter()
                .any(|intent| intent.kind != "lock" && deployer::journal::entry::EntryAccess::Write == intent.access);
            let (mut before, mut after) = (finished.before.clone(), finished.after.clone());
            before.locks.clear();
            after.locks.clear();
            if !writes {
                assert_eq!(before, after, "{context}");
                assert_eq!((end.status, end.exit_code), (RunStatus::Invalid, 2), "{context}: {:?}", end.error);
                continue;
            }
            match end.status {
                RunStatus::Stuck => {
                    assert!(end.remaining.iter().any(|remaining| remaining.command.is_some()), "{context}: {end:?}");
                }
                RunStatus::Failed if !end.committed => assert_eq!(before, after, "{context}"),
                RunStatus::Failed | RunStatus::Succeeded => {
                    let answer = finished.world.response_on_port(PORT).map(|answer| answer.response.body);
                    assert_eq!(answer.as_deref(), Some(deploy.new), "{context}: {end:?}");
                }
                other => panic!("{context}: {other}"),
            }
        }
    }
}
