//! One simulated run, and everything that is to be known of it afterwards. Judges nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::attempt::{Attempt, When};
use super::mortal::{BoundWorld, Bounds, Life, MortalJournal, MortalWorld};
use super::subject::Subject;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::vault::Vault;
use crate::effect::fault::FaultKind;
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::fault::{Faults, Reached};
use crate::gateway::ledger::Ledger;
use crate::gateway::{Broken, Cancel, Gateway};
use crate::journal::entry::{Entry, EntryAccess, Process, Purpose, Record, RunEnd, RunHeader, RunStatus};
use crate::journal::memory_journal::MemoryJournal;
use crate::run::pinned_sources::PinnedSources;
use crate::run::reopen::{Decisions, ReopenError, Reopening};
use crate::run::runner::Runner;
use crate::world::World;
use crate::world::sim::{Answer, Rows, SimWorld, Snapshot, Spell};

/// What is placed on a host has booted when the run begins, and what a run leaves has when it is looked at.
const SETTLING: Duration = Duration::from_secs(10);
/// From a death until somebody goes on.
const MOURNING: Duration = Duration::from_secs(1);
/// How often a killed run is opened again that could not be gone on with.
const REOPENINGS: usize = 6;
/// Every secret is set here, to this and its name: it must be found nowhere.
const SECRET: &str = "rehearsed-secret-of-";
/// Operations of the script after which it is taken to never end.
const MOST_OPERATIONS: u64 = 20_000_000;

/// What came of one simulated run.
pub struct Rehearsed {
    pub attempt: Attempt,
    /// None when the run could not be gone on with after a death; the text says why.
    pub end: Result<RunEnd, String>,
    pub records: Vec<Record>,
    pub before: Snapshot,
    pub after: Snapshot,
    pub rows_before: Rows,
    pub rows_after: Rows,
    /// Who answered visitors when all was over.
    pub answers: Option<Answer>,
    pub answered: Option<Answer>,
    pub spells: Vec<Spell>,
    pub cut_off: Vec<(u64, String)>,
    pub misdirected: Option<(u64, String)>,
    pub trail: Vec<Reached>,
    /// How much of it the first process came to.
    pub first_trail: usize,
    /// Entries that the first process wrote.
    pub written: u64,
    /// The gap that the script stated.
    pub stated_gap_ms: u64,
    /// Sentences of the script that did not hold.
    pub broken: Vec<Broken>,
    pub overrun: bool,
    /// Whether a secret's value got out.
    pub leaked: bool,
    /// The clock at the beginning and the end.
    pub began_ms: u64,
    pub ended_ms: u64,
    pub start_unix_ms: i64,
}

/// The run's id: always the same, so that the same attempt gives the same run.
fn run_id() -> RunId {
    RunId::from_bytes([7; 10])
}

fn process() -> Process {
    Process { host: "sim".into(), pid: 1, boot_id: "sim".into(), pid_namespace: String::new(), process_start: 1 }
}

/// The parts that all processes of one run share.
struct Stage<'a> {
    subject: &'a Subject,
    handle: &'a Handle,
    world: Arc<SimWorld>,
    journal: Arc<MemoryJournal>,
    vault: Arc<Vault>,
    faults: Arc<Faults>,
    bounds: Arc<Bounds>,
    stated_gap_ms: std::sync::atomic::AtomicU64,
}

/// Runs the subject once, with everything going wrong that `attempt` says. Blocks: not for a worker of the runtime.
///
/// # Errors
/// When the scenario itself cannot be set up.
pub fn rehearse(subject: &Subject, attempt: &Attempt, handle: &Handle) -> Result<Rehearsed, EffectError> {
    let world = Arc::new(SimWorld::new(subject.scenario.clone())?);
    let clock = world.clock();
    handle.block_on(clock.sleep(SETTLING));
    let before = world.snapshot();
    let rows_before = world.rows();
    if attempt.has(FaultKind::Stale) {
        world.remember();
    }
    if let Some(public) = &subject.public {
        world.receive_visitors(public.clone());
    }
    let visit = || subject.public.as_ref().and_then(|public| world.answer_on(public.port, &public.path));
    let answered = visit();
    let (began_ms, start_unix_ms) = (clock.steady_ms(), clock.unix_ms());
    let stage = Stage {
        subject,
        handle,
        world: world.clone(),
        journal: Arc::default(),
        vault: Arc::new(Vault::new(|name| Some(format!("{SECRET}{name}")))),
        faults: Arc::new(Faults::at(attempt.faults().map(|(place, fault)| (place.clone(), fault)))),
        bounds: Bounds::from(began_ms),
        stated_gap_ms: Default::default(),
    };
    let death = attempt.death();
    let life = Life::new(death.map(|(when, _)| when));
    let (mut end, mut broken) = stage.first(&life);
    let first_trail = stage.faults.reached();
    if let (true, Some((when, purpose))) = (life.is_dead(), death) {
        (end, broken) = stage.go_on(when, purpose, broken);
    }
    let ended_ms = clock.steady_ms();
    handle.block_on(clock.sleep(SETTLING));
    let records = stage.journal.take(&run_id());
    let after = world.snapshot();
    Ok(Rehearsed {
        attempt: attempt.clone(),
        leaked: !stage.vault.is_unused() && leaks(&records, &end),
        end,
        records,
        before,
        after,
        rows_before,
        rows_after: world.rows(),
        answers: visit(),
        answered,
        spells: world.spells(),
        cut_off: world.cut_off(),
        misdirected: world.misdirected(),
        trail: stage.faults.take_trail(),
        first_trail,
        written: life.written(),
        broken,
        stated_gap_ms: stage.stated_gap_ms.load(std::sync::atomic::Ordering::Acquire),
        overrun: stage.bounds.is_overrun(),
        began_ms,
        ended_ms,
        start_unix_ms,
    })
}

fn leaks(records: &[Record], end: &Result<RunEnd, String>) -> bool {
    let written = serde_json::to_string(records).unwrap_or_default();
    written.contains(SECRET) || end.as_ref().is_ok_and(|end| format!("{end:?}").contains(SECRET))
}

impl Stage<'_> {
    fn gateway(&self, life: &Arc<Life>, reopen: bool) -> Result<Arc<Gateway>, String> {
        let cancel = Cancel::default();
        let journal = Arc::new(MortalJournal { life: life.clone(), inner: self.journal.clone() });
        let mortal = MortalWorld { life: life.clone(), inner: self.world.clone(), bounds: self.bounds.clone() };
        let world = Arc::new(BoundWorld { world: mortal, cancel: cancel.clone() });
        let ledger = Ledger::new(run_id(), journal, self.world.clock(), self.vault.clone(), Arc::new(|_| {}));
        let ledger = if reopen { ledger.reopen().map_err(|error| error.to_string())? } else { ledger };
        let gateway = Gateway::new(world, Arc::new(ledger), cancel, Some(self.faults.clone()));
        gateway.simulate(MOST_OPERATIONS);
        Ok(Arc::new(gateway))
    }

    fn first(&self, life: &Arc<Life>) -> (Result<RunEnd, String>, Vec<Broken>) {
        let gateway = match self.gateway(life, false) {
            Ok(gateway) => gateway,
            Err(why) => return (Err(why), Vec::new()),
        };
        let header = RunHeader {
            script: self.subject.source.name.clone(),
            digest: self.subject.source.digest().to_owned(),
            params: self.subject.given.clone(),
            engine: "sim".into(),
            address: "sim:".into(),
            engine_flags: String::new(),
            state_flags: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            working_dir: String::new(),
            process: process(),
        };
        let end = self.runner(gateway.clone(), header, None).run(self.handle).map_err(|error| error.to_string());
        self.note_gap(&gateway);
        (end, gateway.broken())
    }

    fn note_gap(&self, gateway: &Gateway) {
        let ms = gateway.simulation().gap_ms();
        self.stated_gap_ms.fetch_max(ms, std::sync::atomic::Ordering::AcqRel);
    }

    /// Goes on with the run of a process that is dead, as often as it takes.
    fn go_on(&self, when: When, purpose: Purpose, mut broken: Vec<Broken>) -> (Result<RunEnd, String>, Vec<Broken>) {
        let mut why = "the run was never gone on with".to_owned();
        for _ in 0..REOPENINGS {
            self.world.bury(&run_id());
            self.handle.block_on(self.world.clock().sleep(MOURNING));
            // Nothing was begun, or everything was over when the process died.
            match self.journal.last(&run_id()) {
                None => return (Err(NOT_BEGUN.into()), broken),
                Some(Entry::RunEnded { end }) => return (Ok(*end), broken),
                Some(_) => {}
            }
            match self.reopen(when, purpose, &mut broken) {
                Ok(end) if end.status != RunStatus::Running => return (Ok(end), broken),
                Ok(end) => why = end.error.unwrap_or_else(|| "the run stays open".into()),
                Err(error) => why = error,
            }
        }
        (Err(why), broken)
    }

    fn reopen(&self, when: When, purpose: Purpose, broken: &mut Vec<Broken>) -> Result<RunEnd, String> {
        let reopened = |decisions| {
            let gateway = self
                .gateway(&Life::new(None), true)
                .map_err(|why| ReopenError::Effect(EffectError::new(ErrorKind::Internal, why)))?;
            let header = gateway.ledger().state().header.clone();
            let header = header
                .ok_or_else(|| ReopenError::Effect(EffectError::new(ErrorKind::Internal, "the run has no header")))?;
            let pinned = PinnedSources { ledger: gateway.ledger().clone(), others: self.subject.loader.clone() };
            let runner = self.runner(gateway.clone(), header, Some(pinned));
            let end = runner.reopen(self.handle, &Reopening { purpose, process: process(), decisions });
            self.note_gap(&gateway);
            Ok((end?, gateway.broken()))
        };
        let went = match reopened(Decisions::default()) {
            // A person says what is true: the program was run, or it was not.
            Err(ReopenError::Undecided(intents)) => {
                let places = intents.into_iter().map(|intent| intent.seq).collect();
                reopened(match when {
                    When::After(_) => Decisions { redo: places, ..Decisions::default() },
                    When::Before(_) => Decisions { skip: places, ..Decisions::default() },
                })
            }
            went => went,
        };
        let (end, more) = went.map_err(|error| match error {
            ReopenError::Effect(error) => error.to_string(),
            other => format!("{other:?}"),
        })?;
        broken.extend(more);
        Ok(end)
    }

    fn runner(&self, gateway: Arc<Gateway>, header: RunHeader, pinned: Option<PinnedSources>) -> Runner {
        Runner {
            gateway,
            clock: self.world.clock(),
            source: self.subject.source.clone(),
            loader: match pinned {
                Some(pinned) => Arc::new(pinned),
                None => self.subject.loader.clone(),
            },
            given: self.subject.given.clone(),
            header,
            render: Arc::new(|diagnostic| diagnostic.to_string()),
        }
    }
}

/// What is said of a run whose process died before it wrote anything.
pub const NOT_BEGUN: &str = "the run was not begun";

impl Rehearsed {
    /// A digest of every effect that reached the world, in order, and of how it ended: two runs with the same are the
    /// same run.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for reached in &self.trail {
            let Reached { place, subject, struck, .. } = reached;
            hash.update(format!("{} {} {} {subject} {struck:?}\n", place.seq, place.kind, place.nth));
        }
        let end = self.end.as_ref().map(|end| (end.status, end.committed, end.error.clone()));
        hash.update(format!("{end:?} {} {:?}", self.ended_ms, self.spells));
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes of the script that were completed more than once.
    pub fn done_twice(&self) -> Vec<String> {
        let mut writes = BTreeMap::new();
        let mut done: BTreeMap<&Seq, u32> = BTreeMap::new();
        for record in &self.records {
            match &record.entry {
                Entry::Intended { intent } if intent.access == EntryAccess::Write && intent.seq.is_of_script() => {
                    writes.insert(&intent.seq, format!("{} {}", intent.kind, intent.subject));
                }
                Entry::Completed { seq, .. } if writes.contains_key(seq) => *done.entry(seq).or_default() += 1,
                _ => {}
            }
        }
        done.into_iter().filter(|(_, times)| *times > 1).filter_map(|(seq, _)| writes.remove(seq)).collect()
    }

    /// What the run warned of.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        use crate::journal::entry::Level;
        self.records.iter().filter_map(|record| match &record.entry {
            Entry::Logged { level: Level::Warn, text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    /// Milliseconds since the run began, of an entry.
    pub fn at_ms(&self, record: &Record) -> u64 {
        u64::try_from(record.at_ms - self.start_unix_ms).unwrap_or_default()
    }
}
