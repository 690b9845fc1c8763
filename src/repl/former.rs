//! What a session did before its process was killed, as its journal tells: enough to go on, to take it back, and to
//! remove at the end what was set aside. The inputs themselves were never written down.

use std::collections::BTreeSet;

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::effect::Request;
use crate::effect::container::RenameContainer;
use crate::journal::entry::{Entry, Record};
use crate::journal::run_state::UndoStep;
use crate::script::evaluator::Earlier;
use crate::script::set_aside::is_aside_name;

/// What went before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Former {
    /// Number of the last entry on the main line.
    pub last: u32,
    pub earlier: Earlier,
}

impl Former {
    pub fn of(run: &RunId, records: &[Record]) -> Self {
        let mut former = Self::default();
        for record in records {
            let place = record.entry.seq().filter(|seq| seq.is_of_script()).and_then(|seq| seq.path().first());
            former.last = former.last.max(place.copied().unwrap_or(0));
            let Entry::Intended { intent } = &record.entry else { continue };
            let number = intent.site.as_ref().and_then(|site| input_number(&site.source));
            former.earlier.inputs = former.earlier.inputs.max(number.unwrap_or(0));
            let name = intent.args.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            if intent.kind == RenameContainer::KIND && is_aside_name(name, run) {
                former.earlier.aside.push(name.to_owned());
            }
        }
        former
    }
}

/// `<3>` is the third input.
fn input_number(source: &str) -> Option<usize> {
    source.strip_prefix('<')?.strip_suffix('>')?.parse().ok()
}

/// What can be taken back, input by input, the oldest first: in words, and by place.
pub fn by_input(pile: &[UndoStep]) -> Vec<(String, BTreeSet<Seq>)> {
    let mut inputs: Vec<(Option<usize>, String, BTreeSet<Seq>)> = Vec::new();
    for step in pile {
        let number = step.site.as_ref().and_then(|site| input_number(&site.source));
        match inputs.last_mut() {
            Some((last, words, steps)) if number.is_some() && *last == number => {
                *words += &format!(", {}", step.of);
                steps.insert(step.seq.clone());
            }
            _ => inputs.push((number, step.of.clone(), BTreeSet::from([step.seq.clone()]))),
        }
    }
    inputs.into_iter().map(|(_, words, steps)| (words, steps)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::site::Site;
    use crate::journal::run_state::UndoAction;

    fn run() -> RunId {
        RunId::from_bytes([3; 10])
    }

    fn record(n: u64, entry: serde_json::Value) -> Record {
        Record { run: run(), n, at_ms: 0, entry: serde_json::from_value(entry).unwrap() }
    }

    fn renamed(seq: &str, input: &str, name: &str) -> serde_json::Value {
        json!({"entry": "intended", "intent": {
            "seq": seq, "kind": "docker_rename", "subject": "web", "args": {"container": "web", "name": name},
            "access": "write", "recovery": "observe", "undo": "nothing",
            "site": {"source": input, "line": 1, "column": 1},
        }})
    }

    #[test]
    fn what_was_set_aside_and_where_it_had_come_to() {
        let aside = format!("web-removed-{}-1", run());
        let records = [
            record(1, renamed("4", "<2>", &aside)),
            record(2, renamed("7", "<3>", "other")),
            record(3, json!({"entry": "logged", "seq": "9", "level": "info", "text": "x"})),
            record(4, renamed("0.1.30", "<std>", "x-removed-other-1")),
        ];
        let earlier = Earlier { inputs: 3, aside: vec![aside] };
        assert_eq!(Former::of(&run(), &records), Former { last: 9, earlier });
    }

    #[test]
    fn what_one_input_did_is_taken_back_together() {
        let step = |seq: &str, source: &str, of: &str| UndoStep {
            seq: seq.parse().unwrap(),
            action: UndoAction::Closure { otherwise: None },
            site: Some(Site { source: source.into(), line: 1, column: 1 }),
            of: of.into(),
        };
        let pile = [
            step("1", "<1>", "volume_create a"),
            step("3", "<2>", "docker_stop web"),
            step("4", "<2>", "docker_rename web"),
            step("9", "tools.rhai", "docker_tag web"),
        ];
        let words: Vec<String> = by_input(&pile).into_iter().map(|(words, _)| words).collect();
        assert_eq!(words, ["volume_create a", "docker_stop web, docker_rename web", "docker_tag web"]);
    }
}
