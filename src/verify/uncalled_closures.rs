//! Whether the closures of `on_rollback` were called, as far as a rollback and its journal are concerned.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::journal::entry::{Entry, Record, RunStatus};

/// Returns what is wrong: closures that a finished rollback left out, that were called to their end twice, and that the
/// journal says were called and were not. `called` are those that a process did call.
pub(super) fn uncalled_closures(records: &[Record], called: &BTreeSet<Seq>, end: Option<RunStatus>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut sites: BTreeMap<&Seq, String> = BTreeMap::new();
    let mut open: BTreeSet<&Seq> = BTreeSet::new();
    for record in records {
        match &record.entry {
            Entry::RollbackRegistered { seq, site, .. } => {
                sites.insert(seq, place(site.as_ref()));
                open.insert(seq);
            }
            Entry::Committed { .. } => open.clear(),
            Entry::RollbackCalled { seq } => {
                let place = sites.get(seq).cloned().unwrap_or_default();
                if !open.remove(seq) {
                    wrong.push(format!("the closure of `on_rollback`{place} was called twice"));
                } else if !called.contains(seq) {
                    let what = "which no process called";
                    wrong.push(format!("the journal says `rollback_called` of the closure{place}, {what}"));
                }
            }
            _ => {}
        }
    }
    // A stuck run lists what it left; a run that succeeded calls none.
    let is_rolled_back =
        end.is_some_and(|end| !matches!(end, RunStatus::Succeeded | RunStatus::Stuck | RunStatus::Running));
    if is_rolled_back {
        let left = open.into_iter().filter_map(|seq| sites.get(seq));
        wrong.extend(left.map(|place| format!("the closure of `on_rollback`{place} was not called")));
    }
    wrong
}

fn place(site: Option<&Site>) -> String {
    site.map(|site| format!(" at {}:{}", site.source, site.line)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::run_id::RunId;

    fn seq(text: &str) -> Seq {
        text.parse().unwrap()
    }

    fn wrong(entries: Vec<Entry>, called: &[&str], end: RunStatus) -> Vec<String> {
        let run = RunId::from_bytes([7; 10]);
        let records = (1..).zip(entries).map(|(n, entry)| Record { run: run.clone(), n, at_ms: 0, entry });
        let called = called.iter().map(|at| seq(at)).collect();
        uncalled_closures(&records.collect::<Vec<_>>(), &called, Some(end))
    }

    fn registered(at: &str) -> Entry {
        let site = Some(Site { source: "s".into(), line: 3, column: 1 });
        Entry::RollbackRegistered { seq: seq(at), site, otherwise: None }
    }

    fn called(at: &str) -> Entry {
        Entry::RollbackCalled { seq: seq(at) }
    }

    #[test]
    fn a_rollback_calls_every_closure_once() {
        let both = || vec![registered("1"), registered("2"), called("2"), called("1")];
        assert_eq!(wrong(both(), &["1", "2"], RunStatus::Aborted), [""; 0]);
        let twice = [both(), vec![called("1")]].concat();
        assert_eq!(
            wrong(twice, &["1", "2"], RunStatus::Failed),
            ["the closure of `on_rollback` at s:3 was called twice"]
        );
        let lost = vec![registered("1"), registered("2"), called("2")];
        assert_eq!(
            wrong(lost.clone(), &["2"], RunStatus::Aborted),
            ["the closure of `on_rollback` at s:3 was not called"]
        );
        assert_eq!(wrong(lost, &["2"], RunStatus::Stuck), [""; 0]);
    }

    #[test]
    fn the_journal_does_not_say_that_a_closure_was_called_that_was_not() {
        let found = wrong(vec![registered("1"), called("1")], &[], RunStatus::Aborted);
        assert_eq!(found, ["the journal says `rollback_called` of the closure at s:3, which no process called"]);
    }

    #[test]
    fn what_was_committed_is_not_called() {
        let committed = vec![registered("1"), Entry::Committed { seq: seq("2") }];
        assert_eq!(wrong(committed, &[], RunStatus::Failed), [""; 0]);
    }
}
