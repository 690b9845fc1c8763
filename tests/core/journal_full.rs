//! The disk of the journal runs full at every entry in turn.

use deployer::journal::entry::RunStatus;

use crate::deploys::{PORT, deploys};

#[test]
fn nothing_is_done_without_a_journal() {
    for deploy in deploys() {
        let entries = deploy.play().run().records().len() as u64;
        for room in 0..entries {
            let played = deploy.play().room(room).run();
            let place = format!("{} with room for {room} of {entries}", deploy.name);
            let Ok(end) = &played.end else {
                assert_eq!((room, &played.before), (0, &played.after), "{place}");
                continue;
            };
            let records = played.records();
            assert_eq!(records.len() as u64, room, "{place}");
            // What the journal does not know of was not done: what it knows of explains what there is.
            let writes = played
                .intents()
                .iter()
                .any(|intent| intent.kind != "lock" && deployer::journal::entry::EntryAccess::Write == intent.access);
            let (mut before, mut after) = (played.before.clone(), played.after.clone());
            before.locks.clear();
            after.locks.clear();
            if !writes {
                assert_eq!(before, after, "{place}");
                assert_eq!((end.status, end.exit_code), (RunStatus::Invalid, 2), "{place}: {:?}", end.error);
                continue;
            }
            match end.status {
                RunStatus::Stuck => {
                    assert!(end.remaining.iter().any(|remaining| remaining.command.is_some()), "{place}: {end:?}");
                }
                RunStatus::Failed if !end.committed => assert_eq!(before, after, "{place}"),
                RunStatus::Failed | RunStatus::Succeeded => {
                    let answer = played.world.answer(PORT).map(|answer| answer.page.body);
                    assert_eq!(answer.as_deref(), Some(deploy.new), "{place}: {end:?}");
                }
                other => panic!("{place}: {other}"),
            }
        }
    }
}
