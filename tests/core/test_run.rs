//! The fixture of these tests: runs one script on one simulated host and returns the result.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::base::vault::Vault;
use deployer::gateway::fault::{FaultRule, Faults};
use deployer::gateway::ledger::{Ledger, Listener};
use deployer::gateway::{Cancel, Gateway};
use deployer::journal::entry::{Entry, Intent, Process, Purpose, Record, RunEnd, RunEvent, RunHeader, RunStatus};
use deployer::journal::memory_journal::MemoryJournal;
use deployer::journal::{Journal, JournalError};
use deployer::run::pinned_sources::PinnedSources;
use deployer::run::reopen::{Decisions, ReopenError, Reopening};
use deployer::run::runner::Runner;
use deployer::script::source::{Source, SourceLoader};
use deployer::world::World;
use deployer::world::clock::Clock;
use deployer::world::sim::{HostSnapshot, Scenario, SimWorld};
use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};

use crate::crash::{Crash, CrashPoint, RepeatingWorld, crashing};

/// The value of the secret `TOKEN`.
pub const SECRET: &str = "s3cr3t-value-42";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub fn handle() -> Handle {
    RUNTIME.handle().clone()
}

/// Modules in memory.
#[derive(Clone, Debug, Default)]
pub struct Modules(pub BTreeMap<String, String>);

impl SourceLoader for Modules {
    fn module(&self, name: &str) -> Result<String, String> {
        self.0.get(name).cloned().ok_or_else(|| format!("no file `{name}.rhai`"))
    }

    fn known_modules(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// How the run is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As by Ctrl-C.
    Once,
    /// As by Ctrl-C twice, or by `kill -9`.
    Twice,
}

/// A run that has not started.
pub struct TestRun {
    pub script: String,
    pub scenario: Scenario,
    /// An existing host, used instead of the scenario.
    pub world: Option<Arc<SimWorld>>,
    pub given: Value,
    pub modules: Modules,
    pub faults: Vec<FaultRule>,
    pub stop_at: Option<(u64, Stop)>,
    pub journal: Arc<dyn Journal>,
    pub memory: Option<Arc<MemoryJournal>>,
    pub crash: Option<Arc<Crash>>,
    /// Performs every effect that is safe to repeat twice.
    pub repeat_effects: bool,
}

/// A run that has ended.
pub struct FinishedRun {
    pub end: Result<RunEnd, JournalError>,
    pub world: Arc<SimWorld>,
    pub before: HostSnapshot,
    pub after: HostSnapshot,
    pub events: Vec<RunEvent>,
    pub journal: Arc<dyn Journal>,
    pub run: RunId,
    pub modules: Modules,
}

pub fn test_run(script: &str) -> TestRun {
    let memory = Arc::new(MemoryJournal::default());
    TestRun {
        script: script.into(),
        scenario: Scenario::default(),
        world: None,
        given: json!({}),
        modules: Modules::default(),
        faults: Vec::new(),
        stop_at: None,
        journal: memory.clone(),
        memory: Some(memory),
        crash: None,
        repeat_effects: false,
    }
}

/// Runs a script on the default scenario.
pub fn run(script: &str) -> FinishedRun {
    test_run(script).run()
}

pub fn header(run_params: &Value, digest: String) -> RunHeader {
    RunHeader {
        script: "test.rhai".into(),
        digest,
        params: run_params.clone(),
        engine: "sim".into(),
        address: "sim:".into(),
        engine_id: String::new(),
        engine_flags: String::new(),
        state_flags: String::new(),
        version: "0".into(),
        working_dir: String::new(),
        process: process(),
    }
}

fn process() -> Process {
    Process { host: "here".into(), pid: 1, boot_id: "b".into(), pid_namespace: String::new(), process_start: 1 }
}

pub fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(|name| (name == "TOKEN").then(|| SECRET.to_owned())))
}

fn next_run_id() -> RunId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    RunId::from_bytes(bytes)
}

impl TestRun {
    pub fn on(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario;
        self
    }

    pub fn in_world(mut self, world: Arc<SimWorld>) -> Self {
        self.world = Some(world);
        self
    }

    pub fn with(mut self, given: Value) -> Self {
        self.given = given;
        self
    }

    pub fn module(mut self, name: &str, text: &str) -> Self {
        self.modules.0.insert(name.into(), text.into());
        self
    }

    pub fn fault(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }

    /// Stops the run when the entry with this number was written.
    pub fn stop_at(mut self, entry: u64, stop: Stop) -> Self {
        self.stop_at = Some((entry, stop));
        self
    }

    /// Limits the journal to this many entries.
    pub fn journal_capacity(self, entries: u64) -> Self {
        self.memory.as_ref().unwrap().fill_up_after(entries);
        self
    }

    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self.memory = None;
        self
    }

    /// Performs every effect that is safe to repeat twice.
    pub fn repeat_effects(mut self) -> Self {
        self.repeat_effects = true;
        self
    }

    /// Kills the run at this point.
    pub fn crash(mut self, at: CrashPoint) -> Self {
        self.crash = Some(Crash::new(Some(at)));
        self
    }

    pub fn run(self) -> FinishedRun {
        let world = self.world.unwrap_or_else(|| Arc::new(SimWorld::new(self.scenario).unwrap()));
        // Lets containers boot before the run begins and before the final snapshot.
        let settle = || handle().block_on(world.clock().sleep(Duration::from_secs(10)));
        settle();
        let before = world.snapshot();
        let events: Arc<Mutex<Vec<RunEvent>>> = Arc::default();
        let cancel = Cancel::default();
        let (seen, stop, stop_at) = (events.clone(), cancel.clone(), self.stop_at);
        let listener: Listener = Arc::new(move |event: &RunEvent| {
            if let (RunEvent::Recorded(record), Some((at, how))) = (event, stop_at)
                && record.n == at
            {
                stop.forward.cancel();
                if how == Stop::Twice {
                    stop.everything.cancel();
                }
            }
            seen.lock().unwrap().push(event.clone());
        });
        let run = next_run_id();
        let (journal, run_world): (Arc<dyn Journal>, Arc<dyn World>) = match &self.crash {
            Some(crash) => crashing(crash, self.journal.clone(), world.clone()),
            None if self.repeat_effects => (self.journal.clone(), Arc::new(RepeatingWorld(world.clone()))),
            None => (self.journal.clone(), world.clone()),
        };
        let ledger = Ledger::new(run.clone(), journal, world.clock(), vault(), listener);
        let faults = (!self.faults.is_empty()).then(|| Arc::new(Faults::new(self.faults)));
        let gateway = Arc::new(Gateway::new(run_world, Arc::new(ledger), cancel, faults));
        let source = Source::new("test.rhai", self.script);
        let runner = Runner {
            gateway,
            clock: world.clock(),
            header: header(&self.given, source.digest().to_owned()),
            source,
            loader: Arc::new(self.modules.clone()),
            given: self.given,
            render: Arc::new(|diagnostic| render(diagnostic)),
        };
        let end = runner.run(&handle());
        settle();
        let after = world.snapshot();
        let events = events.lock().unwrap().clone();
        FinishedRun { end, world, before, after, events, journal: self.journal, run, modules: self.modules }
    }
}

/// Rolls back a killed run as `deployer abort` does, with an empty script.
pub fn abort_without_script(gateway: &Arc<Gateway>, clock: Arc<dyn Clock>) -> Result<RunEnd, ReopenError> {
    let runner = Runner {
        gateway: gateway.clone(),
        clock,
        source: Source::new("test.rhai", ""),
        loader: Arc::new(Modules::default()),
        given: json!({}),
        header: header(&json!({}), "d".into()),
        render: Arc::new(|diagnostic| render(diagnostic)),
    };
    let reopening = Reopening { purpose: Purpose::Abort, process: process(), decisions: Decisions::default() };
    runner.reopen(&handle(), &reopening)
}

/// Renders a diagnostic for a terminal of 100 columns without colour.
pub fn render(diagnostic: &dyn miette::Diagnostic) -> String {
    let mut text = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false)
        .render_report(&mut text, diagnostic)
        .unwrap();
    text
}

impl FinishedRun {
    pub fn end(&self) -> &RunEnd {
        self.end.as_ref().unwrap()
    }

    pub fn status(&self) -> RunStatus {
        self.end().status
    }

    /// The error message, in one line.
    pub fn error(&self) -> String {
        self.end().error.clone().unwrap_or_default()
    }

    pub fn report(&self) -> String {
        self.end().report.clone().unwrap_or_default()
    }

    /// The value of the script's last expression; panics if the run failed.
    pub fn value(&self) -> &Value {
        assert_eq!(self.status(), RunStatus::Succeeded, "{}", self.report());
        &self.end().value
    }

    pub fn records(&self) -> Vec<Record> {
        self.journal.records(&self.run).unwrap()
    }

    pub fn intents(&self) -> Vec<Intent> {
        let intent = |record: Record| match record.entry {
            Entry::Intended { intent } => Some(*intent),
            _ => None,
        };
        self.records().into_iter().filter_map(intent).collect()
    }

    /// Kind and subject of every effect, in order.
    pub fn effects(&self) -> Vec<String> {
        self.intents().iter().map(|intent| format!("{} {}", intent.kind, intent.subject).trim().to_owned()).collect()
    }

    /// The messages of `log`, `warn` and `print`.
    pub fn messages(&self) -> Vec<String> {
        let text = |record: Record| match record.entry {
            Entry::Logged { text, .. } => Some(text),
            _ => None,
        };
        self.records().into_iter().filter_map(text).collect()
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.records().iter().map(|record| record.entry.name()).collect()
    }

    /// Everything that was recorded, shown or returned, as text.
    pub fn all_text(&self) -> String {
        let lines = |items: &dyn Debug| format!("{items:#?}");
        [lines(&self.records()), lines(&self.events), lines(&self.end)].concat()
    }

    /// Rolls back the killed run as `deployer abort` does.
    pub fn abort(&self) -> RunEnd {
        self.reopen(self.journal.clone(), self.world.clone(), Purpose::Abort, Decisions::default()).unwrap()
    }

    /// Resumes the interrupted run as `deployer resume` does.
    pub fn resume(&self) -> RunEnd {
        self.reopen(self.journal.clone(), self.world.clone(), Purpose::Resume, Decisions::default()).unwrap()
    }

    /// Reopens the killed run with this journal and world.
    pub fn reopen(
        &self,
        journal: Arc<dyn Journal>,
        world: Arc<dyn World>,
        purpose: Purpose,
        decisions: Decisions,
    ) -> Result<RunEnd, ReopenError> {
        self.world.mark_run_dead(&self.run);
        let ledger = Ledger::new(self.run.clone(), journal, world.clock(), vault(), Arc::new(|_| {}));
        let ledger = Arc::new(ledger.reopen().unwrap());
        let header = ledger.state().header.clone().unwrap();
        let text = self.journal.source(&header.digest).unwrap().unwrap();
        let runner = Runner {
            clock: world.clock(),
            loader: Arc::new(PinnedSources { ledger: ledger.clone(), others: Arc::new(self.modules.clone()) }),
            gateway: Arc::new(Gateway::new(world, ledger, Cancel::default(), None)),
            source: Source::new("test.rhai", text),
            given: header.params.clone(),
            header,
            render: Arc::new(|diagnostic| render(diagnostic)),
        };
        runner.reopen(&handle(), &Reopening { purpose, process: process(), decisions })
    }
}
