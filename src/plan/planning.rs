//! Makes a plan: runs the script in the world of a plan, and keeps what it asked for.

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
use crate::verify::subject::public_address;
use crate::world::sim::{PublicAddress, Scenario, SimWorld, copy_host};
use crate::world::{Call, World};

/// What a secret is taken to be that is not set.
const MISSING: &str = "not-set";
/// Changes that nobody outside sees.
const UNSEEN: [&str; 3] = ["lock", "unlock", "notify"];

/// Asks for the value of a secret.
pub type SecretLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a plan is made from.
pub struct Planning {
    pub real: Arc<dyn World>,
    pub source: Source,
    pub loader: Arc<dyn SourceLoader>,
    pub declaration: Declaration,
    /// The parameters as given.
    pub given: Value,
    pub header: RunHeader,
    /// The value of a secret, where it is set.
    pub secret: SecretLookup,
    /// Whether a program is installed here.
    pub has_program: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub render: Render,
    pub cancel: Cancel,
}

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub script: String,
    pub engine: String,
    pub address: String,
    /// Its changes, in order.
    pub steps: Vec<Step>,
    /// What cannot be taken back.
    pub for_good: Vec<String>,
    /// Requests that its load tests would send, by their URL.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub load: BTreeMap<String, u64>,
    /// None: no public port is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicAddress>,
    pub missing_secrets: Vec<String>,
    pub missing_programs: Vec<String>,
    /// What the script warned of.
    pub warnings: Vec<String>,
    /// What its last expression gave.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// Why it would fail, where it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails: Option<Failed>,
    /// The host that it was made from, and what it answered: what `verify` begins with.
    #[serde(skip)]
    pub scenario: Scenario,
}

/// How the run would end that does not succeed.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    pub status: RunStatus,
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Plan {
    /// Changes that somebody would see.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !UNSEEN.contains(&step.kind.as_str()))
    }

    /// 0 nothing to do, 10 changes, 2 errors.
    pub fn exit_code(&self) -> u8 {
        let lacks = !self.missing_secrets.is_empty() || !self.missing_programs.is_empty();
        match (self.fails.is_some() || lacks, self.changes().next().is_some()) {
            (true, _) => 2,
            (false, true) => 10,
            (false, false) => 0,
        }
    }
}

/// The run of a plan has a name of its own, which no engine ever sees.
fn run_id() -> RunId {
    RunId::from_bytes([0; 10])
}

impl Planning {
    /// Makes the plan. Blocks: call it on a thread that is no worker of the async runtime. Changes nothing.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub fn plan(self, handle: &Handle) -> Result<Plan, EffectError> {
        let asked = Call::silent(run_id(), Branch::root().next(), Arc::new(Vault::empty()));
        let mut scenario = handle.block_on(copy_host(self.real.as_ref(), &asked))?;
        let assumed = Arc::new(SimWorld::new(scenario.clone())?);
        let params = self.declaration.fill(&self.given).unwrap_or_else(|_| self.given.clone());
        let public = public_address(&params, &scenario);
        // What runs has long booted.
        handle.block_on(assumed.clock().sleep(std::time::Duration::from_secs(10)));
        if let Some(public) = &public {
            assumed.receive_visitors(public.clone());
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
        let spells = assumed.spells();
        scenario.answers = world.heard();
        let steps = steps(&records);
        let programs = steps.iter().filter_map(|step| program(step, self.has_program.as_ref()));
        let secrets = missing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        Ok(Plan {
            script,
            engine,
            address,
            for_good: steps.iter().filter_map(|step| step.for_good.clone()).collect(),
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

/// The changes of a run until it ends, or begins to be taken back.
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
            Entry::UnwindStarted { .. } => break,
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

/// The program that a step runs on this machine, when it is not there.
fn program(step: &Step, has: &(dyn Fn(&str) -> bool + Send + Sync)) -> Option<String> {
    if step.kind != "exec" {
        return None;
    }
    let asked: Exec = serde_json::from_value(step.args.clone()).ok()?;
    let line = command_line(asked.command.get(..1)?);
    (!line.is_empty() && !has(&line)).then_some(line)
}
