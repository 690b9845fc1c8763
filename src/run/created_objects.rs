//! What a run created and has not removed, according to its journal. A resumed run may be done only if all of that still
//! exists.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::container_ref::ContainerRef;
use crate::base::seq::Seq;
use crate::effect::container::{
    ContainerOutcome, CreateContainer, InspectContainer, RemoveContainer, RenameContainer, RunContainer,
};
use crate::effect::volume::{
    CloneVolume, CreateVolume, ListVolumes, PruneVolumes, RemoveVolume, SnapshotVolume, VolumeOutcome,
};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome, Request};
use crate::gateway::Gateway;
use crate::journal::entry::{Entry, Intent, Record};

/// A container or volume that a run created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CreatedObject {
    /// A container, which a renaming does not change.
    Container { id: String, name: String },
    /// A volume.
    Volume { name: String },
}

/// Returns what exists if nothing but this run has changed it.
pub(super) fn created_objects(records: &[Record]) -> Vec<CreatedObject> {
    let mut intents: BTreeMap<&Seq, &Intent> = BTreeMap::new();
    let mut created = Vec::new();
    for record in records {
        match &record.entry {
            Entry::Intended { intent } => {
                intents.insert(&intent.seq, intent);
            }
            Entry::Completed { seq, outcome, .. } => {
                if let Some(intent) = intents.get(seq) {
                    apply(&mut created, intent, outcome);
                }
            }
            _ => {}
        }
    }
    created
}

fn apply(created: &mut Vec<CreatedObject>, intent: &Intent, outcome: &Value) {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let container = || intent.args.get("container").and_then(|value| value.get("id").or(Some(value))?.as_str());
    let is_volume =
        |object: &CreatedObject, named: &str| matches!(object, CreatedObject::Volume { name } if name == named);
    match intent.kind.as_str() {
        RunContainer::KIND | CreateContainer::KIND => {
            created.push(CreatedObject::Container { id: text(outcome, "id"), name: text(outcome, "name") });
        }
        RemoveContainer::KIND => {
            let removed = container().unwrap_or_default();
            created.retain(|object| !object.is_container(removed));
        }
        RenameContainer::KIND => {
            let renamed = container().unwrap_or_default();
            for object in created.iter_mut().filter(|object| object.is_container(renamed)) {
                if let CreatedObject::Container { name, .. } = object {
                    *name = text(&intent.args, "name");
                }
            }
        }
        CreateVolume::KIND | SnapshotVolume::KIND => {
            created.push(CreatedObject::Volume { name: text(outcome, "name") });
        }
        CloneVolume::KIND => created.push(CreatedObject::Volume { name: text(&intent.args, "to") }),
        RemoveVolume::KIND => {
            let removed = text(&intent.args, "name");
            created.retain(|object| !is_volume(object, &removed));
        }
        PruneVolumes::KIND => {
            let removed = outcome.get("removed").and_then(Value::as_array).into_iter().flatten();
            let removed: Vec<&str> = removed.filter_map(Value::as_str).collect();
            created.retain(|object| !removed.iter().any(|name| is_volume(object, name)));
        }
        _ => {}
    }
}

impl CreatedObject {
    fn is_container(&self, named: &str) -> bool {
        match self {
            Self::Container { id, name } => !named.is_empty() && (name == named || id.starts_with(named)),
            Self::Volume { .. } => false,
        }
    }

    /// Returns the error if it does not exist.
    ///
    /// # Errors
    /// Also when the engine does not answer.
    pub(super) async fn expect_exists(&self, gateway: &Gateway, seq: Seq) -> Result<(), EffectError> {
        let what = match self {
            Self::Container { id, name } => {
                let inspect = InspectContainer { container: ContainerRef::new(id.clone()), missing_ok: true };
                let found = gateway.perform_last(seq, Effect::from(inspect)).await?;
                match found {
                    Outcome::Container(ContainerOutcome::Inspect(None)) => format!("container `{name}`"),
                    _ => return Ok(()),
                }
            }
            Self::Volume { name } => {
                let list = ListVolumes { name: Some(name.clone()), labels: BTreeMap::new() };
                match gateway.perform_last(seq, Effect::from(list)).await? {
                    Outcome::Volume(VolumeOutcome::List(found)) if found.is_empty() => format!("volume `{name}`"),
                    _ => return Ok(()),
                }
            }
        };
        let message = format!("{what} was created by this run and no longer exists: something else has removed it");
        Err(EffectError::new(ErrorKind::NotFound, message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn records(effects: &[(&str, Value, Value)]) -> Vec<Record> {
        let mut entries = Vec::new();
        for (number, (kind, args, outcome)) in (1..).zip(effects) {
            let seq = format!("{number}");
            entries.push(json!({"entry": "intended", "intent": {
                "seq": seq, "kind": kind, "subject": "", "args": args, "access": "write", "recovery": "observe",
                "undo": "nothing", "site": null,
            }}));
            entries.push(json!({"entry": "completed", "seq": seq, "outcome": outcome, "elapsed_ms": 1}));
        }
        (1..)
            .zip(entries)
            .map(|(n, entry)| {
                let record = json!({"run": "4fz81kq0xw", "n": n, "at_ms": 0});
                let mut record = record.as_object().unwrap().clone();
                record.extend(entry.as_object().unwrap().clone());
                serde_json::from_value(record.into()).unwrap()
            })
            .collect()
    }

    #[test]
    fn what_was_created_and_not_removed_is_listed_under_its_last_name() {
        let created = created_objects(&records(&[
            ("docker_run", json!({"name": "green"}), json!({"id": "aa11", "name": "green"})),
            ("docker_create", json!({"name": "web-next"}), json!({"id": "bb22", "name": "web-next"})),
            ("volume_create", json!({"name": "data"}), json!({"name": "data"})),
            ("volume_create", json!({"name": "tmp"}), json!({"name": "tmp"})),
            ("docker_remove", json!({"container": "green"}), json!({"removed": true})),
            ("docker_rename", json!({"container": {"id": "bb22", "name": "web-next"}, "name": "web"}), json!(null)),
            ("volume_remove", json!({"name": "tmp"}), json!({"removed": true})),
            ("volume_clone", json!({"volume": "data", "to": "data.copy"}), json!({"size": 1})),
            ("volume_snapshot", json!({"volume": "data"}), json!({"name": "data.snap-1"})),
            ("volume_snapshot", json!({"volume": "data"}), json!({"name": "data.snap-2"})),
            ("volume_prune", json!({"keep": 1}), json!({"removed": ["data.snap-1"], "unfinished": [], "in_use": []})),
        ]));
        let web = CreatedObject::Container { id: "bb22".into(), name: "web".into() };
        let volume = |name: &str| CreatedObject::Volume { name: name.into() };
        assert_eq!(created, [web, volume("data"), volume("data.copy"), volume("data.snap-2")]);
    }
}
