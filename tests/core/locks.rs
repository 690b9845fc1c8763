//! Locks, through the gateway: a run that lost its lock changes nothing, and a later run has a higher epoch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::base::seq::Seq;
use deployer::effect::container::{Container, RunContainer, StopContainer};
use deployer::effect::lock::{AcquireLock, BreakLock, Locked, ReleaseLock};
use deployer::effect::notify::Notify;
use deployer::effect::{Applied, Effect, EffectError, ErrorKind, Request};
use deployer::gateway::ledger::Ledger;
use deployer::gateway::{Cancel, Gateway};
use deployer::journal::entry::{Entry, RunEvent, RunStatus};
use deployer::journal::memory_journal::MemoryJournal;
use deployer::journal::{Durability, Journal};
use deployer::run::reopen::ReopenError;
use deployer::world::sim::{Behaviour, Scenario, SimImage, SimLock, SimWorld};
use deployer::world::{Call, World};
use serde_json::{Value, json};

use crate::test_run::{abort_without_script, handle, header, vault};

/// One run, reduced to its gateway.
struct TestRun {
    gateway: Arc<Gateway>,
    next: Mutex<u32>,
    progress: Arc<Mutex<Vec<String>>>,
}

fn world() -> Arc<SimWorld> {
    let scenario = Scenario { images: vec![SimImage::new("app:v1", Behaviour::default())], ..Scenario::bare() };
    Arc::new(SimWorld::new(scenario).unwrap())
}

fn run_id(number: u8) -> RunId {
    RunId::from_bytes([number; 10])
}

impl TestRun {
    fn begin(world: &Arc<SimWorld>, journal: &Arc<MemoryJournal>, number: u8) -> Self {
        let run = Self::open(world, journal, number, false);
        let header = Box::new(header(&json!({}), "d".into()));
        run.gateway.ledger().record(Entry::RunStarted { header }, Durability::Power).unwrap();
        run
    }

    /// Opens a run; with `reopened`, as another process does that resumes it.
    fn open(world: &Arc<SimWorld>, journal: &Arc<MemoryJournal>, number: u8, reopened: bool) -> Self {
        let progress: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = progress.clone();
        let listener = Arc::new(move |event: &RunEvent| {
            if let RunEvent::Progress { text, .. } = event {
                sink.lock().unwrap().push(text.clone());
            }
        });
        let journal: Arc<dyn Journal> = journal.clone();
        let ledger = Ledger::new(run_id(number), journal, world.clock(), vault(), listener);
        let ledger = Arc::new(if reopened { ledger.reopen().unwrap() } else { ledger });
        let gateway = Arc::new(Gateway::new(world.clone(), ledger, Cancel::default(), None));
        Self { gateway, next: Mutex::new(if reopened { 100 } else { 1 }), progress }
    }

    fn seq(&self) -> Seq {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        next.to_string().parse().unwrap()
    }

    fn ask<R: Request>(&self, args: Value) -> Result<R::Reply, EffectError> {
        let request: R = serde_json::from_value(args).unwrap();
        let outcome = handle().block_on(self.gateway.perform(self.seq(), None, request.into()))?;
        Ok(serde_json::from_value(outcome.value()).unwrap())
    }

    fn lock(&self) -> Result<Locked, EffectError> {
        self.ask::<AcquireLock>(json!({"service": "web"}))
    }

    fn start(&self, name: &str) -> Result<Container, EffectError> {
        self.ask::<RunContainer>(json!({"name": name, "image": "app:v1", "service": "web"}))
    }

    fn release(&self) {
        self.ask::<ReleaseLock>(json!({"service": "web"})).unwrap();
    }
}

fn break_lock(world: &SimWorld, number: u8) {
    let effect: Effect = BreakLock { service: "web".into(), run: run_id(number) }.into();
    let call = Call::silent(run_id(99), "1".parse().unwrap(), vault());
    handle().block_on(world.perform(&call, &effect)).unwrap();
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, EffectError>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Locked, Applied::No), "{error:?}");
    assert!(error.message.contains(text) && error.hint.is_some(), "{error:?}");
}

#[test]
fn a_run_that_lost_its_lock_changes_nothing_but_may_notify() {
    let (world, journal) = (world(), Arc::default());
    let first = TestRun::begin(&world, &journal, 1);
    assert_eq!(first.lock().unwrap().epoch, 1);
    assert_eq!(first.start("web").unwrap().labels["deployer.epoch"], "1");
    break_lock(&world, 1);
    let before = world.snapshot();
    assert_refused(first.start("green"), "it was released by `deployer unlock`");
    assert_refused(first.ask::<StopContainer>(json!({"container": "web"})), "`docker_stop` was not performed");
    assert_eq!(world.snapshot(), before);
    first.ask::<Notify>(json!({"channel": "webhook", "url": "http://hook", "message": "stuck"})).unwrap();

    let second = TestRun::begin(&world, &journal, 2);
    assert_eq!(second.lock().unwrap().epoch, 2);
    let before = world.snapshot();
    assert_refused(first.start("green"), run_id(2).as_str());
    let undo: Effect = StopContainer {
        container: "web".into(),
        grace: deployer::base::duration_text::DurationText::secs(1),
        signal: None,
        missing_ok: true,
    }
    .into();
    assert_refused(
        handle().block_on(first.gateway.undo("9".parse().unwrap(), "1".parse().unwrap(), undo)),
        "lost the lock",
    );
    first.release();
    assert_eq!(world.snapshot(), before);
    second.start("green").unwrap();
}

#[test]
fn a_newer_epoch_on_a_container_stops_an_older_run() {
    let (world, journal) = (world(), Arc::default());
    let first = TestRun::begin(&world, &journal, 1);
    first.lock().unwrap();
    let spec = json!({"name": "web", "image": "app:v1", "service": "web"});
    let request: RunContainer = serde_json::from_value(spec).unwrap();
    let call = Call { epoch: Some(7), ..Call::silent(run_id(2), "1".parse().unwrap(), vault()) };
    handle().block_on(world.perform(&call, &request.into())).unwrap();
    assert_refused(first.start("green"), "a newer run has changed `web`");
    first.release();
    assert_eq!(TestRun::begin(&world, &journal, 3).lock().unwrap().epoch, 8);
}

#[test]
fn epochs_increase_when_the_clock_jumps_back() {
    let (world, journal) = (world(), Arc::default());
    let mut newest = 0;
    for number in 1..6 {
        let run = TestRun::begin(&world, &journal, number);
        let epoch = run.lock().unwrap().epoch;
        assert!(epoch > newest, "{epoch} after {newest}");
        newest = epoch;
        let container = run.start(&format!("web-{number}")).unwrap();
        assert_eq!(container.labels["deployer.epoch"], epoch.to_string());
        run.release();
        world.set_clock_back(Duration::from_secs(86_400));
    }
}

#[test]
fn a_resumed_run_keeps_its_epoch_unless_another_run_deployed_meanwhile() {
    let (world, journal) = (world(), Arc::default());
    let killed = TestRun::begin(&world, &journal, 1);
    let lock = killed.lock().unwrap();
    let resumed = TestRun::open(&world, &journal, 1, true);
    assert_eq!(resumed.lock().unwrap(), lock);
    resumed.start("web").unwrap();

    world.mark_run_dead(&run_id(1));
    let other = TestRun::begin(&world, &journal, 2);
    assert_eq!(other.lock().unwrap().taken_over_from, Some(run_id(1)));
    let late = TestRun::open(&world, &journal, 1, true);
    assert_refused(late.lock(), run_id(2).as_str());
    other.release();
    let error = late.lock().unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error:?}");
    assert!(error.message.contains("another run has deployed `web`"), "{error}");
    TestRun::begin(&world, &journal, 3).lock().expect("the lock was released again");
}

#[test]
fn an_abort_without_the_lock_changes_nothing() {
    let (world, journal) = (world(), Arc::default());
    let killed = TestRun::begin(&world, &journal, 1);
    killed.lock().unwrap();
    killed.start("web").unwrap();
    world.mark_run_dead(&run_id(1));
    let other = TestRun::begin(&world, &journal, 2);
    other.lock().unwrap();
    let before = world.snapshot();
    let refusal = abort_without_script(&TestRun::open(&world, &journal, 1, true).gateway, world.clock()).unwrap_err();
    let ReopenError::Effect(error) = refusal else { panic!("{refusal:?}") };
    assert_eq!(error.kind, ErrorKind::Locked, "{error:?}");
    assert!(error.message.contains(run_id(2).as_str()), "{error:?}");
    assert_eq!(world.snapshot(), before);
}

#[test]
fn an_abort_releases_the_lock() {
    let (world, journal) = (world(), Arc::default());
    let before = world.snapshot();
    let killed = TestRun::begin(&world, &journal, 1);
    killed.lock().unwrap();
    killed.start("web").unwrap();
    world.mark_run_dead(&run_id(1));
    let end = abort_without_script(&TestRun::open(&world, &journal, 1, true).gateway, world.clock()).unwrap();
    assert_eq!(end.status, RunStatus::Aborted, "{end:?}");
    assert_eq!(world.snapshot(), before);
}

#[test]
fn the_gateway_waits_for_a_lock_if_configured() {
    let held = SimLock { run: run_id(7), dead: false, until_ms: Some(4_000) };
    let scenario = Scenario { locks: [("web".to_owned(), held)].into(), ..Scenario::bare() };
    let world = Arc::new(SimWorld::new(scenario).unwrap());
    let journal = Arc::default();
    let first = TestRun::begin(&world, &journal, 1);
    assert_refused(first.lock(), run_id(7).as_str());
    first.gateway.wait_for_locks(Duration::from_secs(10));
    first.lock().unwrap();
    assert!(world.clock().steady_ms() >= 4_000);
    assert!(first.progress.lock().unwrap().iter().any(|text| text.contains(run_id(7).as_str())));
    // The journal has what the script requested, not the longer wait.
    let records = journal.records(&run_id(1)).unwrap();
    let waits: Vec<Value> = records
        .into_iter()
        .filter_map(|record| match record.entry {
            Entry::Intended { intent } => Some(intent.args["wait"].clone()),
            _ => None,
        })
        .collect();
    assert_eq!(waits, [json!("0s"), json!("0s")]);
}
