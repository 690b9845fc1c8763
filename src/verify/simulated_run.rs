//! One simulated run, and everything that is recorded of it. Checks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::attempt::Attempt;
use super::crash::{CrashingWorld, LimitedWorld, RunLimits};
use super::target::VerifyTarget;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::vault::Vault;
use crate::effect::fault::FaultKind;
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::fault::{Faults, ReachedEffect};
use crate::gateway::ledger::Ledger;
use crate::gateway::{BrokenExpectation, Cancel, Gateway};
use crate::journal::crashing_journal::{Crash, CrashPoint, CrashingJournal};
use crate::journal::entry::{Entry, EntryAccess, Process, Purpose, Record, RunEnd, RunHeader, RunStatus};
use crate::journal::memory_journal::MemoryJournal;
use crate::run::pinned_sources::PinnedSources;
use crate::run::reopen::{Decisions, ReopenError, Reopening};
use crate::run::runner::Runner;
use crate::world::World;
use crate::world::sim::{DatabaseRows, HostSnapshot, ServedResponse, SimWorld, TrafficInterval};

/// Time for containers to boot, before the run starts and before its end is examined.
const SETTLING: Duration = Duration::from_secs(10);
/// From a crash until the run is reopened.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How often reopening a crashed run is attempted.
const MAX_REOPENINGS: usize = 6;
/// Every secret has a value with this prefix, which must appear nowhere.
const SECRET: &str = "simulated-secret-of-";
/// A script that exceeds this many operations is stopped.
const MAX_OPERATIONS: u64 = 20_000_000;

/// The record of one simulated run.
pub struct SimulatedRun {
    /// The faults of the run.
    pub attempt: Attempt,
    /// The end, or why the run could not be reopened after a crash.
    pub end: Result<RunEnd, String>,
    /// Its journal.
    pub records: Vec<Record>,
    /// The host before the run.
    pub before: HostSnapshot,
    /// The host after the run.
    pub after: HostSnapshot,
    /// The database rows before the run.
    pub rows_before: DatabaseRows,
    /// The database rows after the run.
    pub rows_after: DatabaseRows,
    /// What the public address answers at the end.
    pub answers: Option<ServedResponse>,
    /// What it answered at the beginning.
    pub answered: Option<ServedResponse>,
    /// What clients saw, and when.
    pub spells: Vec<TrafficInterval>,
    /// When which container was killed while it answered.
    pub cut_off: Vec<(u64, String)>,
    /// When a request first went to a target that does not answer, and the target.
    pub misdirected: Option<(u64, String)>,
    /// The effects that reached the world, in order.
    pub trail: Vec<ReachedEffect>,
    /// How many effects the first process performed.
    pub first_trail: usize,
    /// How many entries the first process wrote.
    pub written: u64,
    /// The gap that the script stated.
    pub stated_gap_ms: u64,
    /// Violated expectations of the script.
    pub broken: Vec<BrokenExpectation>,
    /// The closures of `on_rollback` that a process called.
    pub called: BTreeSet<Seq>,
    /// Whether the run exceeded its limits.
    pub overrun: bool,
    /// Whether the value of a secret appeared in the output.
    pub leaked: bool,
    /// The clock at the beginning.
    pub began_ms: u64,
    /// The clock at the end.
    pub ended_ms: u64,
    /// The time of day at the beginning.
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
    subject: &'a VerifyTarget,
    handle: &'a Handle,
    world: Arc<SimWorld>,
    journal: Arc<MemoryJournal>,
    vault: Arc<Vault>,
    faults: Arc<Faults>,
    limits: Arc<RunLimits>,
    stated_gap_ms: std::sync::atomic::AtomicU64,
    called: Mutex<BTreeSet<Seq>>,
}

/// Simulates one run of the target with the faults of `attempt`. Blocks: call it on a thread that is no worker of the
/// runtime.
///
/// # Errors
/// When the scenario cannot be set up.
pub fn simulate(subject: &VerifyTarget, attempt: &Attempt, handle: &Handle) -> Result<SimulatedRun, EffectError> {
    let world = Arc::new(SimWorld::new(subject.scenario.clone())?);
    let clock = world.clock();
    handle.block_on(clock.sleep(SETTLING));
    let before = world.snapshot();
    let rows_before = world.database_rows();
    if attempt.has(FaultKind::Stale) {
        world.keep_previous_state();
    }
    if let Some(public) = &subject.public {
        world.probe_public_address(public.clone());
    }
    let visit = || subject.public.as_ref().and_then(|public| world.response_on_path(public.port, &public.path));
    let answered = visit();
    let (began_ms, start_unix_ms) = (clock.steady_ms(), clock.unix_ms());
    let stage = Stage {
        subject,
        handle,
        world: world.clone(),
        journal: Arc::default(),
        vault: Arc::new(Vault::new(|name| Some(format!("{SECRET}{name}")))),
        faults: Arc::new(Faults::at(attempt.faults().map(|(position, fault)| (position.clone(), fault)))),
        limits: RunLimits::starting_at(began_ms),
        stated_gap_ms: Default::default(),
        called: Mutex::default(),
    };
    let planned = attempt.crash();
    let crash = Crash::new(planned.map(|(at, _)| at));
    let (mut end, mut broken) = stage.first(&crash, attempt.runs_last_branch_first());
    let first_trail = stage.faults.reached();
    if let (true, Some((at, purpose))) = (crash.has_happened(), planned) {
        (end, broken) = stage.restart(at, purpose, broken);
    }
    let ended_ms = clock.steady_ms();
    handle.block_on(clock.sleep(SETTLING));
    let records = stage.journal.take(&run_id());
    let after = world.snapshot();
    Ok(SimulatedRun {
        attempt: attempt.clone(),
        leaked: !stage.vault.is_unused() && leaks(&records, &end),
        end,
        records,
        before,
        after,
        rows_before,
        rows_after: world.database_rows(),
        answers: visit(),
        answered,
        spells: world.traffic_intervals(),
        cut_off: world.cut_off_requests(),
        misdirected: world.first_dead_target(),
        trail: stage.faults.take_trail(),
        first_trail,
        written: crash.written(),
        called: stage.called.into_inner().unwrap_or_else(PoisonError::into_inner),
        broken,
        stated_gap_ms: stage.stated_gap_ms.load(std::sync::atomic::Ordering::Acquire),
        overrun: stage.limits.are_exceeded(),
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
    fn gateway(&self, crash: &Arc<Crash>, reopen: bool) -> Result<Arc<Gateway>, String> {
        let cancel = Cancel::default();
        let journal = Arc::new(CrashingJournal::new(self.journal.clone(), crash.clone(), || {}));
        let world = CrashingWorld::new(self.world.clone(), crash.clone());
        let world = Arc::new(LimitedWorld { world, limits: self.limits.clone(), cancel: cancel.clone() });
        let ledger = Ledger::new(run_id(), journal, self.world.clock(), self.vault.clone(), Arc::new(|_| {}));
        let ledger = if reopen { ledger.reopen().map_err(|error| error.to_string())? } else { ledger };
        let gateway = Gateway::new(world, Arc::new(ledger), cancel, Some(self.faults.clone()));
        gateway.simulate(MAX_OPERATIONS);
        Ok(Arc::new(gateway))
    }

    fn first(&self, crash: &Arc<Crash>, last_branch_first: bool) -> (Result<RunEnd, String>, Vec<BrokenExpectation>) {
        let gateway = match self.gateway(crash, false) {
            Ok(gateway) => gateway,
            Err(why) => return (Err(why), Vec::new()),
        };
        if last_branch_first {
            gateway.simulation().run_last_branch_first();
        }
        let header = RunHeader {
            script: self.subject.source.name.clone(),
            digest: self.subject.source.digest().to_owned(),
            params: self.subject.given.clone(),
            engine: "sim".into(),
            address: "sim:".into(),
            engine_id: String::new(),
            engine_flags: String::new(),
            state_flags: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            working_dir: String::new(),
            process: process(),
        };
        let end = self.runner(gateway.clone(), header, None).run(self.handle).map_err(|error| error.to_string());
        self.keep_notes(&gateway);
        (end, gateway.broken_expectations())
    }

    /// Keeps what this process noted beside its journal.
    fn keep_notes(&self, gateway: &Gateway) {
        let ms = gateway.simulation().gap_ms();
        self.called.lock().unwrap_or_else(PoisonError::into_inner).extend(gateway.simulation().called_closures());
        self.stated_gap_ms.fetch_max(ms, std::sync::atomic::Ordering::AcqRel);
    }

    /// Reopens the run of a crashed process until it ends.
    fn restart(
        &self,
        at: CrashPoint,
        purpose: Purpose,
        mut broken: Vec<BrokenExpectation>,
    ) -> (Result<RunEnd, String>, Vec<BrokenExpectation>) {
        let mut why = "the run was never reopened".to_owned();
        for _ in 0..MAX_REOPENINGS {
            self.world.mark_run_dead(&run_id());
            self.handle.block_on(self.world.clock().sleep(RESTART_DELAY));
            // The process crashed before the first entry, or after the last one.
            match self.journal.last(&run_id()) {
                None => return (Err(NOT_BEGUN.into()), broken),
                Some(Entry::RunEnded { end }) => return (Ok(*end), broken),
                Some(_) => {}
            }
            match self.reopen(at, purpose, &mut broken) {
                Ok(end) if end.status != RunStatus::Running => return (Ok(end), broken),
                Ok(end) => why = end.error.unwrap_or_else(|| "the run stays open".into()),
                Err(error) => why = error,
            }
        }
        (Err(why), broken)
    }

    fn reopen(&self, at: CrashPoint, purpose: Purpose, broken: &mut Vec<BrokenExpectation>) -> Result<RunEnd, String> {
        let reopened = |decisions| {
            let gateway = self
                .gateway(&Crash::new(None), true)
                .map_err(|why| ReopenError::Effect(EffectError::new(ErrorKind::Internal, why)))?;
            let header = gateway.ledger().state().header.clone();
            let header = header
                .ok_or_else(|| ReopenError::Effect(EffectError::new(ErrorKind::Internal, "the run has no header")))?;
            let pinned = PinnedSources { ledger: gateway.ledger().clone(), others: self.subject.loader.clone() };
            let runner = self.runner(gateway.clone(), header, Some(pinned));
            let end = runner.reopen(self.handle, &Reopening { purpose, process: process(), decisions });
            self.keep_notes(&gateway);
            Ok((end?, gateway.broken_expectations()))
        };
        let went = match reopened(Decisions::default()) {
            // The operator answers truthfully: the program was run, or it was not.
            Err(ReopenError::Undecided(intents)) => {
                let positions = intents.into_iter().map(|intent| intent.seq).collect();
                reopened(match at {
                    CrashPoint::After(_) => Decisions { redo: positions, ..Decisions::default() },
                    CrashPoint::Before(_) => Decisions { skip: positions, ..Decisions::default() },
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

/// The text for a run whose process crashed before it wrote anything.
pub const NOT_BEGUN: &str = "the run was not begun";

impl SimulatedRun {
    /// Returns a digest of every effect that reached the world, in order, and of the end. Runs with the same digest are
    /// the same run.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for reached in &self.trail {
            let ReachedEffect { position, subject, struck, .. } = reached;
            hash.update(format!("{} {} {} {subject} {struck:?}\n", position.seq, position.kind, position.nth));
        }
        let end = self.end.as_ref().map(|end| (end.status, end.committed, end.error.clone()));
        hash.update(format!("{end:?} {} {:?}", self.ended_ms, self.spells));
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the changes of the script and its closures of `on_rollback` that were completed more than once.
    pub fn done_twice(&self) -> Vec<String> {
        let mut writes = BTreeMap::new();
        let counts = |seq: &Seq| seq.is_from_script() || seq.is_in_rollback();
        let mut done: BTreeMap<&Seq, u32> = BTreeMap::new();
        for record in &self.records {
            match &record.entry {
                Entry::Intended { intent } if intent.access == EntryAccess::Write && counts(&intent.seq) => {
                    writes.insert(&intent.seq, format!("{} {}", intent.kind, intent.subject));
                }
                Entry::Completed { seq, .. } if writes.contains_key(seq) => *done.entry(seq).or_default() += 1,
                _ => {}
            }
        }
        done.into_iter().filter(|(_, times)| *times > 1).filter_map(|(seq, _)| writes.remove(seq)).collect()
    }

    /// Returns the warnings of the run.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        use crate::journal::entry::Level;
        self.records.iter().filter_map(|record| match &record.entry {
            Entry::Logged { level: Level::Warn, text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns when an entry was written, in milliseconds since the run started.
    pub fn at_ms(&self, record: &Record) -> u64 {
        u64::try_from(record.at_ms - self.start_unix_ms).unwrap_or_default()
    }
}
