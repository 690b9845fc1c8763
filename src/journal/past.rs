//! What a killed run had done, by place: what its replay is answered from. Knows no script and no world.
//!
//! What changed something, and everything before it, is *firm*: the script must ask for the same again. Reads after the
//! last such entry are asked of the world afresh: nothing was built on their answers yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::entry::{Entry, EntryAccess, Intent, Record};
use crate::base::seq::Seq;
use crate::effect::approval::AwaitApproval;
use crate::effect::lock::{AcquireLock, ReleaseLock};
use crate::effect::notify::Notify;
use crate::effect::{Applied, Effect, EffectError, ErrorKind, Request};

/// Writes that change nothing which a look at the world could miss.
const HARMLESS: [&str; 4] = [AcquireLock::KIND, ReleaseLock::KIND, Notify::KIND, AwaitApproval::KIND];

/// The cursor of a replay.
#[derive(Debug, Default)]
pub struct Past {
    effects: BTreeMap<Seq, Deed>,
    frames: BTreeMap<(Seq, &'static str), Frame>,
    modules: BTreeMap<String, String>,
    /// Number of the last entry that something was built on.
    firm: u64,
    /// Number of the last entry after which the world was not as before.
    changed: u64,
    /// Containers that something may have been done to when the run was killed.
    touched: BTreeSet<String>,
    /// Whether the run may not go further than it had come.
    closed: bool,
    /// Checks that all is well whose answer may be out of date: the last one of each thing that nothing was done to since.
    checks: BTreeSet<Seq>,
    /// Whether one of them says now that it is not.
    unwell: AtomicBool,
    /// Places that the script came to again.
    met: Mutex<BTreeSet<Seq>>,
}

#[derive(Debug)]
struct Deed {
    n: u64,
    intent: Intent,
    /// None while it is not known.
    result: Option<Result<Value, EffectError>>,
}

#[derive(Debug)]
struct Frame {
    n: u64,
    entry: Entry,
    /// Another way may be taken now.
    soft: bool,
}

/// What the past says to an effect.
#[derive(Debug)]
pub enum Answer {
    /// It was not done yet.
    New,
    /// It was done, with this outcome.
    Done(Value),
    /// It was done; but whether all is well must be asked again.
    AskAgain(Value),
    /// It failed.
    Failed(EffectError),
    /// The run had not come so far, and may not go on.
    Ended,
}

/// What the past says to an entry of the script's own making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameAnswer {
    New,
    Known,
    Ended,
}

/// The script asks for something else than it did before.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    pub seq: Seq,
    /// What the journal has, a line each.
    pub recorded: String,
    /// What the script asks for now; none when it is at its end.
    pub asked: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Some(_) => write!(f, "at {} the script asks for something else than this run did", self.seq),
            None => write!(f, "the script does not ask for what this run did at {}", self.seq),
        }
    }
}

impl Divergence {
    /// Recorded and asked, line by line, less what is the same in both.
    pub fn difference(&self) -> String {
        let asked = self.asked.as_deref().unwrap_or_default();
        let without = |lines: &str, other: &str, sign: char| {
            let differ = lines.lines().filter(|line| !other.lines().any(|same| same == *line));
            differ.map(|line| format!("{sign} {line}\n")).collect::<String>()
        };
        let text = [without(&self.recorded, asked, '-'), without(asked, &self.recorded, '+')].concat();
        text.trim_end().to_owned()
    }
}

impl From<Divergence> for EffectError {
    fn from(divergence: Divergence) -> Self {
        Self::new(ErrorKind::Diverged, divergence.to_string())
            .detail(divergence.difference())
            .hint("`-` is what the journal has, `+` what is asked for now; `deployer abort` takes the run back")
            .not_applied()
    }
}

impl Past {
    /// `closed`: the run may not go further than it had come.
    pub fn of(records: &[Record], closed: bool) -> Self {
        let mut past = Self { closed, ..Self::default() };
        let mut reopened = false;
        for record in records {
            // What was only looked at before a kill was looked at afresh by whoever went on.
            if reopened && is_forward(&record.entry) {
                past.soften();
                reopened = false;
            }
            reopened |= matches!(record.entry, Entry::RunReopened { .. });
            past.take(record);
        }
        if !closed {
            past.soften();
            past.checks = past.outdated();
        }
        past
    }

    fn outdated(&self) -> BTreeSet<Seq> {
        let mut last: BTreeMap<&str, &Deed> = BTreeMap::new();
        for deed in self.effects.values().filter(|deed| deed.n > self.changed && is_safety_check(&deed.intent)) {
            let known = last.entry(&deed.intent.subject).or_insert(deed);
            if known.n < deed.n {
                *known = deed;
            }
        }
        let outdated = last.into_values().filter(|deed| {
            let untouched = container_words(&deed.intent.args).iter().all(|word| !self.touched.contains(word));
            untouched && matches!(deed.result, Some(Ok(_)))
        });
        outdated.map(|deed| deed.intent.seq.clone()).collect()
    }

    fn take(&mut self, record: &Record) {
        match &record.entry {
            Entry::Intended { intent } => {
                let deed = Deed { n: record.n, intent: intent.as_ref().clone(), result: None };
                self.effects.insert(intent.seq.clone(), deed);
            }
            Entry::Completed { seq, outcome, .. } => self.ended(record.n, seq, Ok(outcome.clone())),
            Entry::Failed { seq, error, .. } => self.ended(record.n, seq, Err(error.clone())),
            Entry::SourceLoaded { name, digest } => {
                self.modules.insert(name.clone(), digest.clone());
            }
            entry => {
                let Some(seq) = place(entry) else { return };
                if is_weighty(entry) {
                    self.firm = record.n;
                }
                let frame = Frame { n: record.n, entry: entry.clone(), soft: false };
                self.frames.insert((seq.clone(), entry.name()), frame);
            }
        }
    }

    fn ended(&mut self, n: u64, seq: &Seq, result: Result<Value, EffectError>) {
        let Some(deed) = self.effects.get_mut(seq) else { return };
        let applied = result.as_ref().err().is_none_or(|error| error.applied == Applied::Unknown);
        if deed.intent.access == EntryAccess::Write && applied && seq.is_of_script() {
            self.firm = n;
            // What was interrupted may not have happened: the check before it is asked again.
            let known = result.as_ref().err().is_none_or(|error| error.kind != ErrorKind::Interrupted);
            if !known {
                self.touched.extend(container_words(&deed.intent.args));
            } else if !HARMLESS.contains(&deed.intent.kind.as_str()) {
                self.changed = n;
            }
        }
        deed.result = Some(result);
    }

    /// Forgets the answers that nothing was built on, and those that never came.
    fn soften(&mut self) {
        let firm = self.firm;
        self.effects.retain(|seq, deed| {
            let known = match &deed.result {
                Some(Ok(_)) => true,
                Some(Err(error)) => error.kind != ErrorKind::Interrupted,
                None => false,
            };
            known && (deed.n <= firm || !seq.is_of_script())
        });
        for frame in self.frames.values_mut() {
            frame.soft |= frame.n > firm;
        }
    }

    /// What became of the effect at this place.
    ///
    /// # Errors
    /// When it was another effect.
    pub fn effect(&self, seq: &Seq, kind: &str, args: &Value) -> Result<Answer, Divergence> {
        let Some(deed) = self.effects.get(seq) else {
            self.nothing_firm_after(seq, || describe(kind, args))?;
            return Ok(if self.closed && seq.is_of_script() { Answer::Ended } else { Answer::New });
        };
        if deed.intent.kind != kind || deed.intent.args != *args {
            // Closures of `on_finish` are told how the run ended, and that may be another end now.
            if !seq.is_of_script() {
                return Ok(Answer::New);
            }
            let recorded = describe(&deed.intent.kind, &deed.intent.args);
            return Err(Divergence { seq: seq.clone(), recorded, asked: Some(describe(kind, args)) });
        }
        self.meet(seq);
        Ok(match &deed.result {
            None => Answer::Ended,
            Some(Err(error)) => Answer::Failed(error.clone()),
            Some(Ok(value)) if self.checks.contains(seq) => Answer::AskAgain(value.clone()),
            Some(Ok(value)) => Answer::Done(value.clone()),
        })
    }

    /// Whether this entry of the script's own making is there already.
    ///
    /// # Errors
    /// When another one is at its place.
    pub fn frame(&self, entry: &Entry) -> Result<FrameAnswer, Divergence> {
        let Some(seq) = place(entry) else { return Ok(FrameAnswer::New) };
        match self.frames.get(&(seq.clone(), entry.name())) {
            Some(frame) if frame.entry == *entry => {
                self.meet(seq);
                return Ok(FrameAnswer::Known);
            }
            // It was cut short where the run was stopped, between two effects.
            Some(frame) if closes(&frame.entry) && self.closed => return Ok(FrameAnswer::Ended),
            Some(frame) if !frame.soft => {
                let recorded = describe_entry(&frame.entry);
                return Err(Divergence { seq: seq.clone(), recorded, asked: Some(describe_entry(entry)) });
            }
            _ => {}
        }
        // What was open when the run was killed is closed for the first time now.
        if closes(entry) {
            return Ok(FrameAnswer::New);
        }
        self.nothing_firm_after(seq, || describe_entry(entry))?;
        Ok(if self.closed && seq.is_of_script() { FrameAnswer::Ended } else { FrameAnswer::New })
    }

    /// A check that is asked again says that something is not well any more: from here on the script goes another way.
    pub fn is_unwell(&self) {
        self.unwell.store(true, Ordering::Release);
    }

    /// The digest of a module's text, as it was loaded.
    pub fn module(&self, name: &str) -> Option<&str> {
        self.modules.get(name).map(String::as_str)
    }

    /// The first thing that the run did and the script did not ask for again.
    pub fn left_over(&self) -> Option<Divergence> {
        if self.closed || self.unwell.load(Ordering::Acquire) {
            return None;
        }
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = self.firm_after(None).find(|seq| !met.contains(*seq))?;
        Some(Divergence { seq: seq.clone(), recorded: self.at(seq), asked: None })
    }

    /// Where the past knows nothing, nothing firm may come later on the same branch.
    fn nothing_firm_after(&self, seq: &Seq, asked: impl Fn() -> String) -> Result<(), Divergence> {
        let Some((number, branch)) = seq.path().split_last() else { return Ok(()) };
        if self.closed || !seq.is_of_script() || self.unwell.load(Ordering::Acquire) {
            return Ok(());
        }
        let on_branch = |other: &&Seq| other.path().starts_with(branch);
        let later = |other: &&Seq| other.path().get(branch.len()).is_some_and(|there| there > number);
        match self.firm_after(Some(seq)).take_while(on_branch).find(later) {
            Some(other) => Err(Divergence { seq: other.clone(), recorded: self.at(other), asked: Some(asked()) }),
            None => Ok(()),
        }
    }

    /// The places of the script that something was built on, in order.
    fn firm_after(&self, seq: Option<&Seq>) -> impl Iterator<Item = &Seq> {
        let from = || seq.map_or(Bound::Unbounded, |seq| Bound::Excluded(seq.clone()));
        let effects = self.effects.range((from(), Bound::Unbounded));
        let effects = effects.filter(|(_, deed)| deed.n <= self.firm).map(|(seq, _)| seq);
        let frames = self
            .frames
            .iter()
            .filter(move |((at, _), frame)| is_weighty(&frame.entry) && seq.is_none_or(|seq| at > seq));
        let places: BTreeSet<&Seq> = effects.chain(frames.map(|((seq, _), _)| seq)).collect();
        places.into_iter().filter(|seq| seq.is_of_script())
    }

    /// What is at a place, for people.
    fn at(&self, seq: &Seq) -> String {
        let effect = self.effects.get(seq).map(|deed| describe(&deed.intent.kind, &deed.intent.args));
        let frame = || self.frames.iter().find(|((at, _), _)| at == seq).map(|(_, frame)| describe_entry(&frame.entry));
        effect.or_else(frame).unwrap_or_default()
    }

    fn meet(&self, seq: &Seq) {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(seq.clone());
    }
}

/// Where in the script it was made; none for what is no frame of it.
fn place(entry: &Entry) -> Option<&Seq> {
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

fn closes(entry: &Entry) -> bool {
    matches!(entry, Entry::StepClosed { .. } | Entry::ParallelClosed { .. })
}

/// Whether it decides what happens when the run is taken back.
fn is_weighty(entry: &Entry) -> bool {
    matches!(entry, Entry::RollbackRegistered { .. } | Entry::Committed { .. })
}

/// Whether the script asked for it.
fn is_forward(entry: &Entry) -> bool {
    match entry {
        Entry::Intended { intent } => intent.seq.is_of_script(),
        entry => place(entry).is_some_and(Seq::is_of_script),
    }
}

fn is_safety_check(intent: &Intent) -> bool {
    Effect::decode(&intent.kind, intent.args.clone()).is_ok_and(|effect| effect.facts().is_safety_check())
}

/// Id and name of the container that an effect is about.
fn container_words(args: &Value) -> Vec<String> {
    match args.get("container") {
        Some(Value::String(word)) => vec![word.clone()],
        Some(Value::Object(map)) => map.values().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// An effect, a line for each of its options.
fn describe(kind: &str, args: &Value) -> String {
    let mut text = kind.to_owned();
    for (key, value) in args.as_object().into_iter().flatten() {
        text.push_str(&format!("\n  {key}: {value}"));
    }
    text
}

fn describe_entry(entry: &Entry) -> String {
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
