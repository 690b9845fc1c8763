//! What a run changed, without what it undid. Knows the options and outcomes of effects only by their keys, so that the
//! journal of another version can be shown too.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::seq::Seq;
use crate::journal::entry::{EntryAccess, Intent, UndoRecord};

/// How many changes are kept; more are counted.
const CHANGES_KEPT: usize = 500;
/// How many names of ids are kept.
const NAMES_KEPT: usize = 1_000;
/// Length of a shortened id.
const SHORT_ID: usize = 12;
/// Lengths of a full id, on any of the engines.
const FULL_IDS: [usize; 2] = [32, 64];

/// Names of the objects that effects refer to by id.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Remembers the names in an outcome.
    pub fn learn(&mut self, outcome: &Value) {
        let all = outcome.as_array().map_or(std::slice::from_ref(outcome), Vec::as_slice);
        for thing in all {
            if let (Some(id), Some(name)) = (text(thing, "id"), text(thing, "name"))
                && (self.0.len() < NAMES_KEPT || self.0.contains_key(id))
            {
                self.0.insert(id.to_owned(), name.to_owned());
            }
        }
    }

    /// Replaces full ids in a text by names or short ids.
    pub fn replace_ids(&self, subject: &str) -> String {
        let word = |word: &str| {
            let bare = word.trim_end_matches([':', ',']);
            let id = bare.strip_prefix("sha256:").unwrap_or(bare);
            if !FULL_IDS.contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return word.to_owned();
            }
            let name = self.0.get(bare).map_or(&id[..SHORT_ID], String::as_str);
            format!("{name}{}", &word[bare.len()..])
        };
        subject.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }
}

/// Changes in order, without those that were undone.
#[derive(Debug, Default)]
pub struct Changes {
    kept: Vec<(Seq, Change)>,
    more: usize,
}

#[derive(Debug)]
struct Change {
    noun: &'static str,
    name: String,
    verb: Verb,
}

#[derive(Debug)]
enum Verb {
    /// Created, and from what or how.
    Made(String),
    Removed,
    Renamed(String),
    Started,
    Stopped,
    /// Changed in place, and how.
    Became(String),
}

/// The net change of one object.
struct ChangedObject<'a> {
    noun: &'static str,
    first: &'a str,
    now: &'a str,
    made: Option<&'a str>,
    gone: bool,
    ran: Option<bool>,
    runs: Option<bool>,
    became: Option<&'a str>,
}

impl Changes {
    /// Adds a completed effect. `subject` is what it was about when it started.
    pub fn complete(&mut self, intent: &Intent, subject: &str, outcome: &Value, names: &Names, rolling_back: bool) {
        if let Some(undone) = &intent.undoes {
            self.kept.retain(|(seq, _)| seq != undone);
            return;
        }
        let idle = !rolling_back && intent.undo == UndoRecord::Nothing;
        if intent.access == EntryAccess::Read {
            return;
        }
        match Change::of(intent, subject, outcome, names, idle) {
            Some(_) if self.kept.len() >= CHANGES_KEPT => self.more += 1,
            Some(change) => self.kept.push((intent.seq.clone(), change)),
            None => {}
        }
    }

    /// Returns one line per changed object: `+` is new, `-` is removed, `~` is changed.
    pub fn net(&self) -> Vec<String> {
        let mut things: Vec<ChangedObject> = Vec::new();
        for (_, change) in &self.kept {
            let known = |thing: &ChangedObject| thing.noun == change.noun && thing.now == change.name && !thing.gone;
            let at = things.iter().position(known).unwrap_or_else(|| {
                things.push(ChangedObject::found(change));
                things.len() - 1
            });
            let thing = &mut things[at];
            match &change.verb {
                Verb::Made(of) => thing.made = Some(of),
                Verb::Removed => thing.gone = true,
                Verb::Renamed(name) => thing.now = name,
                Verb::Started => thing.run(true),
                Verb::Stopped => thing.run(false),
                Verb::Became(how) => thing.became = Some(how),
            }
        }
        let more = (self.more > 0).then(|| format!("… and {} more", self.more));
        let lines = things.iter().filter_map(|thing| match things.iter().find(|other| thing.replaced(other)) {
            Some(_) if thing.gone => None,
            Some(_) => Some(format!("~ {} {} replaced{}", thing.noun, thing.now, thing.origin())),
            None => thing.line(),
        });
        lines.chain(more).collect()
    }
}

impl<'a> ChangedObject<'a> {
    fn found(change: &'a Change) -> Self {
        let (noun, name) = (change.noun, change.name.as_str());
        Self { noun, first: name, now: name, made: None, gone: false, ran: None, runs: None, became: None }
    }

    fn run(&mut self, runs: bool) {
        self.ran.get_or_insert(!runs);
        self.runs = Some(runs);
    }

    /// Returns whether one is new under the name of the other, which was removed.
    fn replaced(&self, other: &ChangedObject) -> bool {
        let by = |old: &ChangedObject, new: &ChangedObject| {
            old.noun == new.noun
                && old.first == new.now
                && old.gone
                && old.made.is_none()
                && !new.gone
                && new.made.is_some()
        };
        by(self, other) || by(other, self)
    }

    /// Returns what it was created from, in brackets.
    fn origin(&self) -> String {
        self.made.filter(|of| !of.is_empty()).map(|of| format!(" ({of})")).unwrap_or_default()
    }

    fn line(&self) -> Option<String> {
        let Self { noun, first, now, .. } = self;
        match (self.made, self.gone) {
            (Some(_), true) => return None,
            (Some(_), false) => return Some(format!("+ {noun} {now}{}", self.origin())),
            (None, true) => return Some(format!("- {noun} {first}")),
            (None, false) => {}
        }
        let renamed = (first != now).then(|| format!("renamed to {now}"));
        let state = (self.runs != self.ran).then(|| if self.runs == Some(true) { "started" } else { "stopped" });
        let all: Vec<String> =
            renamed.into_iter().chain(state.map(str::to_owned)).chain(self.became.map(str::to_owned)).collect();
        (!all.is_empty()).then(|| format!("~ {noun} {first} {}", all.join(", ")))
    }
}

impl Change {
    /// Returns what a completed effect changed. An `idle` effect had nothing to undo, so it changed no state.
    fn of(intent: &Intent, subject: &str, outcome: &Value, names: &Names, idle: bool) -> Option<Self> {
        let args = &intent.args;
        // A container is given by its name, or as a map with its id and its name.
        let arg = |key: &str| {
            let value = text(args, key).or_else(|| args.get(key).and_then(|value| text(value, "id")));
            value.map(|value| names.replace_ids(value))
        };
        let removed = || outcome.get("removed").and_then(Value::as_bool) != Some(false);
        let services = || {
            let listed = args.get("services").and_then(Value::as_array).into_iter().flatten();
            let listed: Vec<&str> = listed.filter_map(Value::as_str).collect();
            if listed.is_empty() { arg("file") } else { Some(listed.join(", ")) }
        };
        let reply = |key: &str| text(outcome, key).map(str::to_owned);
        let database = || {
            let path = arg("path").unwrap_or_default();
            arg("volume").or_else(|| arg("container")).map_or_else(|| path.clone(), |place| format!("{place}:{path}"))
        };
        let tag = || text(args, "tag").map(str::to_owned);
        let change = |noun, name: Option<String>, verb| name.map(|name| Self { noun, name, verb });
        match intent.kind.as_str() {
            "docker_run" | "docker_create" => {
                change("container", arg("name"), Verb::Made(arg("image").unwrap_or_default()))
            }
            "docker_start" if !idle => change("container", arg("container"), Verb::Started),
            "docker_stop" | "docker_kill" if !idle => change("container", arg("container"), Verb::Stopped),
            "docker_remove" if removed() => change("container", arg("container"), Verb::Removed),
            // The names already have the new name; only the subject has the old one.
            "docker_rename" => {
                let (from, to) = subject.split_once(" -> ")?;
                change("container", Some(from.to_owned()), Verb::Renamed(to.to_owned()))
            }
            "docker_build" => change("image", tag(), Verb::Made("built".into())),
            "docker_pull" => change("image", arg("image"), Verb::Made("pulled".into())),
            "docker_push" => change("image", arg("image"), Verb::Became("pushed".into())),
            "docker_load" => change("image archive", arg("file"), Verb::Became("loaded".into())),
            "docker_tag" => change("image", tag(), Verb::Made(format!("tag of {}", arg("image")?))),
            "docker_image_remove" if removed() => change("image", arg("image"), Verb::Removed),
            "volume_create" if !idle => change("volume", arg("name"), Verb::Made(String::new())),
            "volume_remove" if removed() => change("volume", arg("name"), Verb::Removed),
            "network_create" if outcome.get("created").and_then(Value::as_bool) != Some(false) => {
                change("network", arg("name"), Verb::Made(String::new()))
            }
            "network_remove" if removed() => change("network", arg("name"), Verb::Removed),
            "compose_up" => change("compose service", services(), Verb::Became("up".into())),
            "compose_stop" => {
                let gone = args.get("remove").and_then(Value::as_bool) == Some(true);
                let how = if gone { "stopped and removed" } else { "stopped" };
                change("compose service", services(), Verb::Became(how.into()))
            }
            "sqlite_backup" => change("backup", reply("url"), Verb::Made(database())),
            "sqlite_restore" => change("database", Some(database()), Verb::Became("restored".into())),
            "sqlite_seed" if outcome.get("seeded").and_then(Value::as_bool) == Some(true) => {
                change("database", Some(database()), Verb::Became("seeded".into()))
            }
            "container_archive" => change("archive", reply("url"), Verb::Made(arg("container")?)),
            "object_put" => change("object", reply("url"), Verb::Made(arg("path")?)),
            "object_get" => change("file", arg("path"), Verb::Made(arg("url")?)),
            "object_delete" if removed() => change("object", arg("url"), Verb::Removed),
            "object_prune" => {
                let count = outcome.get("deleted").and_then(Value::as_array).map_or(0, Vec::len);
                let pruned = change("objects", arg("prefix"), Verb::Became(format!("pruned: {count} deleted")));
                pruned.filter(|_| count > 0)
            }
            "git_pull" if outcome.get("updated").and_then(Value::as_bool) == Some(true) => {
                let short = |key| text(outcome, key).map(|id| id.chars().take(SHORT_ID).collect::<String>());
                let how = format!("moved from {} to {}", short("from")?, short("to")?);
                change("repository", arg("repo"), Verb::Became(how))
            }
            _ => None,
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::entry::{Entry, RunEvent};
    use crate::report::samples::Stream;

    /// The net changes of effects that all succeed: kind, subject, options, outcome, and the effect that it undoes.
    fn net(effects: &[(&str, &str, Value, Value, Option<&str>)]) -> Vec<String> {
        let (mut changes, mut names, mut stream) = (Changes::default(), Names::default(), Stream::new());
        for (at, (kind, subject, args, _, undoes)) in (1..).zip(effects) {
            stream.intend_undoing(&format!("{at}"), kind, subject, args.clone(), *undoes);
        }
        for (event, (_, subject, _, outcome, _)) in stream.events.iter().skip(1).zip(effects) {
            let RunEvent::Recorded(record) = event else { continue };
            let Entry::Intended { intent } = &record.entry else { continue };
            let subject = names.replace_ids(subject);
            names.learn(outcome);
            changes.complete(intent, &subject, outcome, &names, false);
        }
        changes.net()
    }

    fn run(name: &str) -> (&'static str, &str, Value, Value, Option<&'static str>) {
        let made = json!({"id": "a".repeat(64), "name": name});
        ("docker_run", name, json!({"name": name, "image": "web:v2"}), made, None)
    }

    fn remove(name: &str) -> (&'static str, &str, Value, Value, Option<&'static str>) {
        ("docker_remove", name, json!({"container": name}), json!({"removed": true}), None)
    }

    #[test]
    fn what_is_created_and_removed_is_no_change() {
        assert_eq!(net(&[run("probe"), remove("probe")]), [""; 0]);
        assert_eq!(net(&[remove("old")]), ["- container old"]);
        let absent = ("docker_remove", "old", json!({"container": "old"}), json!({"removed": false}), None);
        assert_eq!(net(&[absent]), [""; 0]);
    }

    #[test]
    fn ids_of_every_engine_get_their_names() {
        for letters in FULL_IDS {
            let id = "a".repeat(letters);
            let made = ("docker_run", "web", json!({"name": "web"}), json!({"id": id, "name": "web"}), None);
            let start = ("docker_start", id.as_str(), json!({"container": id}), json!({}), None);
            let removed = ("docker_remove", id.as_str(), json!({"container": id}), json!({"removed": true}), None);
            assert_eq!(net(&[made.clone(), start]), ["+ container web"]);
            assert_eq!(net(&[made, removed]), [""; 0]);
        }
    }

    #[test]
    fn what_is_undone_is_no_change() {
        let back = ("docker_remove", "web", json!({"container": "web"}), json!({"removed": true}), Some("1"));
        assert_eq!(net(&[run("web"), back]), [""; 0]);
    }

    #[test]
    fn a_new_one_under_an_old_name_replaces_it() {
        let id = "a".repeat(64);
        let rename = json!({"container": id, "name": "web"});
        let renamed = json!({"id": id, "name": "web"});
        let subject = format!("{id} -> web");
        let effects = [run("green"), remove("web"), ("docker_rename", subject.as_str(), rename, renamed, None)];
        assert_eq!(net(&effects), ["~ container web replaced (web:v2)"]);
    }

    #[test]
    fn states_and_names_add_up() {
        let stop = |name| ("docker_stop", name, json!({"container": name}), json!({"exit_code": 0}), None);
        let start = |name| ("docker_start", name, json!({"container": name}), json!({}), None);
        let rename = ("docker_rename", "a -> b", json!({"container": "a", "name": "b"}), json!({}), None);
        assert_eq!(net(&[stop("a"), start("a")]), [""; 0]);
        assert_eq!(
            net(&[stop("a"), rename, start("c")]),
            ["~ container a renamed to b, stopped", "~ container c started"]
        );
    }

    #[test]
    fn images_volumes_and_services_are_named() {
        let none = || json!({});
        let effects = [
            ("docker_build", "web:v2", json!({"tag": "web:v2"}), none(), None),
            ("docker_tag", "", json!({"image": "web:v1", "tag": "web:rollback"}), none(), None),
            ("volume_create", "data", json!({"name": "data"}), none(), None),
            ("compose_up", "web", json!({"file": "compose.yml", "services": ["web", "db"]}), none(), None),
            ("git_pull", ".", json!({"repo": "."}), json!({"from": "aaaa", "to": "bbbb", "updated": true}), None),
        ];
        let lines = [
            "+ image web:v2 (built)",
            "+ image web:rollback (tag of web:v1)",
            "+ volume data",
            "~ compose service web, db up",
            "~ repository . moved from aaaa to bbbb",
        ];
        assert_eq!(net(&effects), lines);
    }
}
