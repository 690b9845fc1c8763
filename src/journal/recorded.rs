//! What a replay keeps of one effect, or of one other entry, of an interrupted run.

use serde_json::Value;

use super::entry::{Entry, Intent};
use crate::base::seq::Seq;
use crate::effect::{Effect, EffectError};

/// A recorded effect.
#[derive(Debug)]
pub(super) struct RecordedEffect {
    /// Number of its intent.
    pub(super) n: u64,
    /// What was intended.
    pub(super) intent: Intent,
    /// `None` while it is unknown.
    pub(super) result: Option<Result<Value, EffectError>>,
}

/// A recorded entry that is no effect.
#[derive(Debug)]
pub(super) struct Frame {
    /// Its number.
    pub(super) n: u64,
    /// The entry.
    pub(super) entry: Entry,
    /// Whether the replay may diverge here.
    pub(super) soft: bool,
}

/// Returns the position of an entry that the script makes and that is no effect; `None` for every other entry.
pub(super) fn frame_position(entry: &Entry) -> Option<&Seq> {
    match entry {
        Entry::StepOpened { seq, .. }
        | Entry::StepClosed { seq, .. }
        | Entry::ParallelOpened { seq, .. }
        | Entry::ParallelClosed { seq }
        | Entry::RollbackRegistered { seq, .. }
        | Entry::Committed { seq } => Some(seq),
        Entry::Logged { seq, .. } => seq.as_ref(),
        _ => None,
    }
}

/// Returns whether the entry ends a step or a `parallel`.
pub(super) fn closes(entry: &Entry) -> bool {
    matches!(entry, Entry::StepClosed { .. } | Entry::ParallelClosed { .. })
}

/// Returns whether the entry decides what a rollback does.
pub(super) fn affects_rollback(entry: &Entry) -> bool {
    matches!(entry, Entry::RollbackRegistered { .. } | Entry::Committed { .. })
}

/// Returns whether the effect is a check that must pass again.
pub(super) fn is_safety_check(intent: &Intent) -> bool {
    Effect::decode(&intent.kind, intent.args.clone()).is_ok_and(|effect| effect.spec().is_safety_check())
}

/// Returns the id and the name of the container that an effect is about.
pub(super) fn container_keys(args: &Value) -> Vec<String> {
    match args.get("container") {
        Some(Value::String(key)) => vec![key.clone()],
        Some(Value::Object(map)) => map.values().filter_map(|key| key.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Describes an effect, one option a line.
pub(super) fn describe(kind: &str, args: &Value) -> String {
    let mut text = kind.to_owned();
    for (key, value) in args.as_object().into_iter().flatten() {
        text.push_str(&format!("\n  {key}: {value}"));
    }
    text
}

/// Describes an entry that is no effect.
pub(super) fn describe_entry(entry: &Entry) -> String {
    match entry {
        Entry::StepOpened { title, .. } => format!("step \"{title}\""),
        Entry::StepClosed { ok, .. } => format!("the end of a step ({})", if *ok { "done" } else { "failed" }),
        Entry::ParallelOpened { branches, .. } => format!("parallel ({branches} branches)"),
        Entry::RollbackRegistered { .. } => "on_rollback".into(),
        Entry::Committed { .. } => "commit".into(),
        Entry::Logged { text, .. } => format!("log \"{text}\""),
        entry => entry.name().into(),
    }
}
