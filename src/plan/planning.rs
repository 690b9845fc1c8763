//! Makes a plan: executes the script in a [`PlanWorld`] and collects what it requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;

use super::downtime::downtime_ms;
use super::plan_world::PlanWorld;
use super::step::Step;
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::exec::{Exec, command_line};
use crate::effect::load::LoadTest;
use crate::effect::{EffectError, Request};
use crate::gateway::ledger::Ledger;
use crate::gateway::{Cancel, Gateway};
use crate::journal::Journal;
use crate::journal::entry::{Entry, EntryAccess, Record, RunEnd, RunHeader, RunStatus};
use crate::journal::memory_journal::MemoryJournal;
use crate::run::runner::{Render, Runner};
use crate::script::params::Declaration;
use crate::script::source::{Source, SourceLoader};
use crate::verify::target::public_address;
use crate::world::sim::{PublicAddress, Scenario, SimWorld, copy_host};
use crate::world::{Call, World};

/// The value of a secret that is not set.
const MISSING: &str = "not-set";
/// Changes that are not listed.
const UNLISTED: [&str; 3] = ["lock", "unlock", "notify"];

/// Looks up the value of a secret.
pub type SecretLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a plan is made from.
pub struct Planning {
    /// The real world, which is only read.
    pub real: Arc<dyn World>,
    /// The script.
    pub source: Source,
    /// Loads its modules.
    pub loader: Arc<dyn SourceLoader>,
    /// Its parameters.
    pub declaration: Declaration,
    /// The parameters as given.
    pub given: Value,
    /// The header that the run would have.
    pub header: RunHeader,
    /// Returns the value of a secret, if it is set.
    pub secret: SecretLookup,
    /// Returns whether a program is installed here.
    pub has_program: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Renders the report of a failure.
    pub render: Render,
    /// Stops the planning.
    pub cancel: Cancel,
}

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The script.
    pub script: String,
    /// The kind of the engine.
    pub engine: String,
    /// Where the engine is.
    pub address: String,
    /// The changes, in order.
    pub steps: Vec<Step>,
    /// The changes that cannot be undone.
    #[serde(rename = "for_good")] // An alias that programs read.
    pub irreversible: Vec<String>,
    /// The number of requests that its load tests would send, by URL.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub load: BTreeMap<String, u64>,
    /// The expected downtime; `None` when the public port is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// The public address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicAddress>,
    /// Secrets that are not set.
    pub missing_secrets: Vec<String>,
    /// Programs that are not installed.
    pub missing_programs: Vec<String>,
    /// The warnings of the script.
    pub warnings: Vec<String>,
    /// The value of its last expression.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// How it would fail, if it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails: Option<Failed>,
    /// The simulated copy of the host, with recorded answers: `verify` starts from it.
    #[serde(skip)]
    pub scenario: Scenario,
}

/// How a run would fail.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// The status.
    pub status: RunStatus,
    /// Why, in one line.
    pub error: String,
    /// The full report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Plan {
    /// Returns the changes that are listed.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !UNLISTED.contains(&step.kind.as_str()))
    }

    /// Returns the exit code: 0 nothing to do, 10 changes, 2 errors.
    pub fn exit_code(&self) -> u8 {
        let lacks = !self.missing_secrets.is_empty() || !self.missing_programs.is_empty();
        match (self.fails.is_some() || lacks, self.changes().next().is_some()) {
            (true, _) => 2,
            (false, true) => 10,
            (false, false) => 0,
        }
    }
}

/// The run id of a plan, which no engine ever sees.
fn run_id() -> RunId {
    RunId::from_bytes([0; 10])
}

impl Planning {
    /// Makes the plan. Blocks: call it on a thread that is no worker of the async runtime. Changes nothing.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn plan(self, handle: &Handle) -> Result<Plan, EffectError> {
        let asked = Call::silent(run_id(), Branch::root().next(), Arc::new(Vault::empty()));
        let mut scenario = handle.block_on(copy_host(self.real.as_ref(), &asked))?;
        let assumed = Arc::new(SimWorld::new(scenario.clone())?);
        let params = self.declaration.fill(&self.given).unwrap_or_else(|_| self.given.clone());
        let public = public_address(&params, &scenario);
        // Running containers have booted.
        handle.block_on(assumed.clock().sleep(std::time::Duration::from_secs(10)));
        if let Some(public) = &public {
            assumed.probe_public_address(public.clone());
        }
        let world = Arc::new(PlanWorld::new(self.real.clone(), assumed.clone()));
        let missing: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let vault = {
            let (missing, secret) = (missing.clone(), self.secret.clone());
            Vault::new(move |name| {
                Some(secret(name).unwrap_or_else(|| {
                    missing.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
                    format!("{MISSING}-{name}")
                }))
            })
        };
        let journal = Arc::new(MemoryJournal::default());
        let ledger = Ledger::new(run_id(), journal.clone(), assumed.clock(), Arc::new(vault), Arc::new(|_| {}));
        let gateway = Arc::new(Gateway::new(world.clone(), Arc::new(ledger), self.cancel.clone(), None));
        let (script, engine, address) =
            (self.source.name.clone(), self.header.engine.clone(), self.header.address.clone());
        let runner = Runner {
            gateway,
            clock: assumed.clock(),
            source: self.source,
            loader: self.loader,
            given: self.given,
            header: self.header,
            render: self.render,
        };
        let end = runner.run(handle)?;
        let records = journal.records(&run_id())?;
        let spells = assumed.traffic_intervals();
        scenario.recorded_reads = world.heard();
        let steps = steps(&records);
        let programs = steps.iter().filter_map(|step| program(step, self.has_program.as_ref()));
        let secrets = missing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        Ok(Plan {
            script,
            engine,
            address,
            irreversible: steps.iter().filter_map(|step| step.irreversible.clone()).collect(),
            load: load(&records),
            downtime_ms: public.is_some().then(|| downtime_ms(&spells)),
            public,
            missing_secrets: secrets,
            missing_programs: programs.collect::<BTreeSet<_>>().into_iter().collect(),
            warnings: warnings(&records),
            fails: failed(&end),
            value: end.value,
            steps,
            scenario,
        })
    }
}

fn failed(end: &RunEnd) -> Option<Failed> {
    (end.status != RunStatus::Succeeded).then(|| Failed {
        status: end.status,
        error: end.error.clone().unwrap_or_default(),
        report: end.report.clone(),
    })
}

/// Returns the changes of a run until it ends or starts to roll back.
fn steps(records: &[Record]) -> Vec<Step> {
    let mut titles: Vec<String> = Vec::new();
    let mut committed = false;
    let mut steps = Vec::new();
    for record in records {
        match &record.entry {
            Entry::StepOpened { title, .. } => titles.push(title.clone()),
            Entry::StepClosed { .. } => {
                titles.pop();
            }
            Entry::Committed { .. } => committed = true,
            Entry::RollbackStarted { .. } => break,
            Entry::Intended { intent } if intent.access == EntryAccess::Write => {
                steps.push(Step::new(intent, titles.last().cloned(), committed));
            }
            _ => {}
        }
    }
    steps
}

fn load(records: &[Record]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for record in records {
        let Entry::Intended { intent } = &record.entry else { continue };
        if intent.kind == LoadTest::KIND
            && let Ok(test) = serde_json::from_value::<LoadTest>(intent.args.clone())
        {
            *all.entry(intent.subject.clone()).or_default() += test.planned().unwrap_or_default();
        }
    }
    all
}

fn warnings(records: &[Record]) -> Vec<String> {
    use crate::journal::entry::Level;
    let warning = |record: &Record| match &record.entry {
        Entry::Logged { level: Level::Warn, text, .. } => Some(text.clone()),
        _ => None,
    };
    records.iter().filter_map(warning).collect()
}

/// Returns the program that a step needs on this machine, if it is not installed.
fn program(step: &Step, has: &(dyn Fn(&str) -> bool + Send + Sync)) -> Option<String> {
    if step.kind != "exec" {
        return None;
    }
    let asked: Exec = serde_json::from_value(step.args.clone()).ok()?;
    let line = command_line(asked.command.get(..1)?);
    (!line.is_empty() && !has(&line)).then_some(line)
}
