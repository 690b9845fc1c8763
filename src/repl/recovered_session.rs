//! What a killed session did, read from its journal: enough to continue, to undo its changes and to perform deferred
//! removals. The text of inputs is not journalled.

use std::collections::BTreeSet;

use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::effect::Request;
use crate::effect::container::RenameContainer;
use crate::journal::entry::{Entry, Record};
use crate::journal::run_state::UndoStep;
use crate::script::deferred_removal::is_deferred_name;
use crate::script::evaluator::RecoveredInputs;

/// The state of a killed session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Position of the last entry on the main branch.
    pub last: u32,
    /// Its inputs.
    pub inputs: RecoveredInputs,
}

impl RecoveredSession {
    /// Reads the state from the entries of a run.
    pub fn from_records(run: &RunId, records: &[Record]) -> Self {
        let mut recovered = Self::default();
        for record in records {
            let position = record.entry.seq().filter(|seq| seq.is_from_script()).and_then(|seq| seq.path().first());
            recovered.last = recovered.last.max(position.copied().unwrap_or(0));
            let Entry::Intended { intent } = &record.entry else { continue };
            let number = intent.site.as_ref().and_then(|site| input_number(&site.source));
            recovered.inputs.inputs = recovered.inputs.inputs.max(number.unwrap_or(0));
            let name = intent.args.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            if intent.kind == RenameContainer::KIND && is_deferred_name(name, run) {
                recovered.inputs.deferred_removals.push(name.to_owned());
            }
        }
        recovered
    }
}

/// Parses the source name of an input: `<3>` is the third one.
fn input_number(source: &str) -> Option<usize> {
    source.strip_prefix('<')?.strip_suffix('>')?.parse().ok()
}

/// Groups the changes that can be undone by input, oldest first: a description and the positions.
pub fn group_by_input(steps: &[UndoStep]) -> Vec<(String, BTreeSet<Seq>)> {
    let mut inputs: Vec<(Option<usize>, String, BTreeSet<Seq>)> = Vec::new();
    for step in steps {
        let number = step.site.as_ref().and_then(|site| input_number(&site.source));
        match inputs.last_mut() {
            Some((last, description, positions)) if number.is_some() && *last == number => {
                *description += &format!(", {}", step.of);
                positions.insert(step.seq.clone());
            }
            _ => inputs.push((number, step.of.clone(), BTreeSet::from([step.seq.clone()]))),
        }
    }
    inputs.into_iter().map(|(_, description, positions)| (description, positions)).collect()
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
    fn finds_deferred_removals_and_the_last_position() {
        let deferred = format!("web-removed-{}-1", run());
        let records = [
            record(1, renamed("4", "<2>", &deferred)),
            record(2, renamed("7", "<3>", "other")),
            record(3, json!({"entry": "logged", "seq": "9", "level": "info", "text": "x"})),
            record(4, renamed("0.1.30", "<std>", "x-removed-other-1")),
        ];
        let inputs = RecoveredInputs { inputs: 3, deferred_removals: vec![deferred] };
        assert_eq!(RecoveredSession::from_records(&run(), &records), RecoveredSession { last: 9, inputs });
    }

    #[test]
    fn changes_of_one_input_are_grouped() {
        let step = |seq: &str, source: &str, of: &str| UndoStep {
            seq: seq.parse().unwrap(),
            action: UndoAction::Closure { otherwise: None },
            site: Some(Site { source: source.into(), line: 1, column: 1 }),
            of: of.into(),
        };
        let steps = [
            step("1", "<1>", "volume_create a"),
            step("3", "<2>", "docker_stop web"),
            step("4", "<2>", "docker_rename web"),
            step("9", "tools.rhai", "docker_tag web"),
        ];
        let descriptions: Vec<String> =
            group_by_input(&steps).into_iter().map(|(description, _)| description).collect();
        assert_eq!(descriptions, ["volume_create a", "docker_stop web, docker_rename web", "docker_tag web"]);
    }
}
