//! The layers of the door, one by one, on worlds of a few lines.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::effect::container::{ContainerSpec, RunContainer, StopContainer};
use deployer::effect::exec::Exec;
use deployer::effect::http::HttpGet;
use deployer::effect::image::BuildImage;
use deployer::effect::time::Sleep;
use deployer::effect::{Applied, Effect, EffectError, ErrorKind, Outcome};
use deployer::gateway::fault::{FaultKind, FaultRule, Faults};
use deployer::gateway::ledger::Ledger;
use deployer::gateway::{Cancel, Gateway};
use deployer::journal::entry::Entry;
use deployer::journal::memory_journal::MemoryJournal;
use deployer::journal::{Durability, Journal};
use deployer::world::clock::Clock;
use deployer::world::sim::SimClock;
use deployer::world::{Call, World};
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::play::{SECRET, header, vault};

type Answer = Result<Outcome, EffectError>;
type Perform = dyn Fn(&Call, &Effect) -> Option<Answer> + Send + Sync;

/// A world that does what a closure says; without an answer it never answers.
struct Tiny {
    perform: Box<Perform>,
    clock: Arc<dyn Clock>,
}

impl World for Tiny {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            match (self.perform)(call, effect) {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

struct Door {
    gateway: Gateway,
    ledger: Arc<Ledger>,
    journal: Arc<MemoryJournal>,
    cancel: Cancel,
    branch: Branch,
}

impl Door {
    fn new(faults: Vec<FaultRule>, perform: impl Fn(&Call, &Effect) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::starting_at(0));
        let journal = Arc::new(MemoryJournal::default());
        let run = RunId::from_bytes([3; 10]);
        let ledger = Arc::new(Ledger::new(run, journal.clone(), clock.clone(), vault(), Arc::new(|_| {})));
        let start = Entry::RunStarted { header: Box::new(header(&json!({}), "d".into())) };
        ledger.record(start, Durability::Power).unwrap();
        let world = Arc::new(Tiny { perform: Box::new(perform), clock });
        let cancel = Cancel::default();
        let gateway = Gateway::new(world, ledger.clone(), cancel.clone(), Some(Arc::new(Faults::new(faults))));
        Self { gateway, ledger, journal, cancel, branch: Branch::root() }
    }

    async fn perform(&self, effect: impl Into<Effect>) -> Answer {
        self.gateway.perform(self.branch.next(), None, effect.into()).await
    }

    fn entries(&self) -> Vec<Entry> {
        let records = self.journal.records(self.ledger.run()).unwrap();
        records.into_iter().skip(1).map(|record| record.entry).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.entries().iter().map(Entry::name).collect()
    }
}

fn get() -> HttpGet {
    serde_json::from_value(json!({"url": "http://x/"})).unwrap()
}

fn run_web() -> RunContainer {
    let spec: ContainerSpec = serde_json::from_value(json!({"name": "web", "image": "web:v1"})).unwrap();
    RunContainer(spec)
}

fn stop_web() -> StopContainer {
    serde_json::from_value(json!({"container": "web"})).unwrap()
}

fn exec() -> Exec {
    serde_json::from_value(json!({"command": ["x"]})).unwrap()
}

fn build(timeout: &str) -> BuildImage {
    serde_json::from_value(json!({"context": ".", "tag": "web:v3", "timeout": timeout})).unwrap()
}

fn no_images() -> Answer {
    Ok(Outcome::decode("docker_images", json!([])).unwrap())
}

fn said(text: &str) -> Option<Answer> {
    let value = json!({"exit_code": 0, "stdout": text, "stderr": "", "truncated": false});
    Some(Outcome::decode("exec", value).map_err(|error| panic!("{error}")))
}

fn slept() -> Option<Answer> {
    Some(Ok(Outcome::decode("sleep", json!(null)).unwrap()))
}

fn unavailable() -> EffectError {
    EffectError::new(ErrorKind::Unavailable, "no answer")
}

#[tokio::test]
async fn a_world_that_never_answers_is_given_up_on() {
    let door = Door::new(Vec::new(), |_, effect| (effect.kind() == "docker_images").then(no_images));
    let error = door.perform(build("50ms")).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Timeout, Applied::Unknown));
    assert_eq!(error.message, "`docker_build` did not end within 50ms");
    assert_eq!(door.names(), ["intended", "failed"]);
}

#[tokio::test]
async fn nothing_begins_after_a_cancel() {
    let door = Door::new(Vec::new(), |_, _| panic!("performed"));
    door.cancel.forward.cancel();
    let error = door.perform(get()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Cancelled, Applied::No));
    assert!(door.names().is_empty(), "not even an intent");
}

#[tokio::test]
async fn a_cancel_drops_what_may_be_left_half_way_after_a_grace() {
    let door = Door::new(Vec::new(), |_, effect| (effect.kind() == "docker_images").then(no_images));
    let cancel = door.cancel.forward.clone();
    let (result, ()) = tokio::join!(door.perform(build("30m")), async { cancel.cancel() });
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Cancelled, Applied::Unknown));
}

#[tokio::test]
async fn a_cancel_lets_a_change_go_on_to_its_end_and_the_second_one_does_not() {
    let told = Arc::new(Mutex::new(None));
    let keep = told.clone();
    let door = Door::new(Vec::new(), move |call, _| {
        *keep.lock().unwrap() = Some(call.cancel.clone());
        None
    });
    let cancel = door.cancel.clone();
    let (result, ()) = tokio::join!(door.perform(run_web()), async {
        while told.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let call = told.lock().unwrap().clone().unwrap();
        cancel.forward.cancel();
        assert!(!call.is_cancelled());
        cancel.everything.cancel();
        assert!(call.is_cancelled());
    });
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn passing_faults_are_tried_again_where_that_is_safe() {
    for (effect, tries) in [(Effect::from(get()), 3), (stop_web().into(), 3), (run_web().into(), 1), (exec().into(), 1)]
    {
        let seen = Arc::new(AtomicU32::new(0));
        let (count, kind) = (seen.clone(), effect.kind());
        let door = Door::new(Vec::new(), move |_, effect| {
            if effect.kind() != kind {
                let answer = if effect.kind() == "traffic_list" { json!([]) } else { json!(null) };
                return Some(Ok(Outcome::decode(effect.kind(), answer).unwrap()));
            }
            count.fetch_add(1, Ordering::Relaxed);
            Some(Err(unavailable()))
        });
        assert_eq!(door.perform(effect).await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(seen.load(Ordering::Relaxed), tries, "{kind}");
        assert_eq!(door.names(), ["intended", "failed"], "{kind}: one entry however many tries");
    }
    let tries = AtomicU32::new(0);
    let door = Door::new(Vec::new(), move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Some(Err(unavailable())),
        _ => slept(),
    });
    door.perform(Sleep { duration: "1s".parse().unwrap() }).await.unwrap();
    let door = Door::new(Vec::new(), |_, _| Some(Err(EffectError::new(ErrorKind::Refused, "no"))));
    assert_eq!(door.perform(get()).await.unwrap_err().kind, ErrorKind::Refused);
}

#[tokio::test]
async fn what_comes_back_is_scrubbed() {
    let door = Door::new(Vec::new(), |call, _| {
        let value = call.vault.expose("TOKEN").unwrap();
        call.tell(format!("progress {value}"));
        said(&format!("out {value}"))
    });
    let outcome = door.perform(exec()).await.unwrap();
    assert_eq!(outcome.value()["stdout"], "out <secret TOKEN>");
    let door = Door::new(Vec::new(), |call, _| {
        let value = call.vault.expose("TOKEN").unwrap();
        Some(Err(EffectError::new(ErrorKind::Failed, value.clone()).hint(value.clone()).detail(value)))
    });
    let error = door.perform(exec()).await.unwrap_err();
    assert!(!format!("{error:?} {:?}", door.entries()).contains(SECRET));
}

#[tokio::test]
async fn the_intent_and_the_undo_are_written_before_the_effect() {
    let at_work: Arc<Mutex<Option<Arc<Ledger>>>> = Arc::default();
    let ledger = at_work.clone();
    let door = Door::new(Vec::new(), move |_, _| {
        let ledger = ledger.lock().unwrap().clone().unwrap();
        let state = ledger.state();
        assert_eq!((state.under_way.len(), state.undo_stack.len(), state.touched()), (1, 1, true));
        let last = ledger.journal().records(ledger.run()).unwrap().pop().unwrap();
        assert_eq!(last.entry.name(), "intended");
        Some(Err(EffectError::new(ErrorKind::Timeout, "who knows")))
    });
    *at_work.lock().unwrap() = Some(door.ledger.clone());
    door.perform(run_web()).await.unwrap_err();
    let state = door.ledger.state();
    assert_eq!((state.under_way.len(), state.undo_stack.len(), state.touched()), (0, 1, true));
    drop(state);
    assert_eq!(door.names(), ["intended", "failed"]);
}

#[tokio::test]
async fn an_effect_without_a_written_intent_leaves_no_trace() {
    let door = Door::new(Vec::new(), |_, _| panic!("performed"));
    door.journal.fill_up_after(0);
    let error = door.perform(run_web()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Journal, Applied::No));
    let state = door.ledger.state();
    assert!(state.undo_stack.is_empty() && state.under_way.is_empty() && !state.touched());
}

#[tokio::test]
async fn an_outcome_that_is_not_written_leaves_the_undo() {
    let door = Door::new(Vec::new(), |_, _| Some(Err(EffectError::new(ErrorKind::Failed, "x"))));
    door.journal.fill_up_after(1);
    let error = door.perform(run_web()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Journal, Applied::Unknown));
    assert_eq!(door.ledger.state().undo_stack.len(), 1);
}

#[tokio::test]
async fn a_state_before_that_cannot_be_read_stops_the_effect() {
    let door = Door::new(Vec::new(), |_, effect| match effect.kind() {
        "docker_inspect" => Some(Err(EffectError::new(ErrorKind::Refused, "not allowed"))),
        other => panic!("{other} performed"),
    });
    let error = door.perform(stop_web()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Refused, Applied::No));
    assert_eq!(door.names(), ["intended", "failed"]);
    assert!(!door.ledger.state().touched());
}

#[tokio::test]
async fn an_answer_that_nests_too_deep_fails_the_effect_and_not_the_journal() {
    let door = Door::new(Vec::new(), |_, _| {
        let deep = (0..80).fold(json!(1), |inner, _| json!([inner]));
        let reply =
            json!({"status": 200, "headers": {}, "body": "", "json": deep, "elapsed_ms": 1, "truncated": false});
        Some(Ok(Outcome::decode("http_get", reply).unwrap()))
    });
    let error = door.perform(get()).await.unwrap_err();
    assert_eq!(error.message, "the answer of `http_get` nests deeper than 64 levels");
    assert_eq!(door.names(), ["intended", "failed"]);
}

#[tokio::test]
async fn faults_hit_the_nth_of_a_kind_and_subject() {
    let rule = |fault| FaultRule { kind: "sleep".into(), subject: "2s".into(), nth: 2, fault };
    for fault in [FaultKind::Refused, FaultKind::Transient, FaultKind::TimeoutApplied, FaultKind::TimeoutNotApplied] {
        let done = Arc::new(AtomicU32::new(0));
        let count = done.clone();
        let door = Door::new(vec![rule(fault)], move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            slept()
        });
        let sleep = |secs| Sleep { duration: Duration::from_secs(secs).into_text() };
        for secs in [2, 1] {
            door.perform(sleep(secs)).await.unwrap();
        }
        let result = door.perform(sleep(2)).await;
        let performed = done.load(Ordering::Relaxed);
        match fault {
            FaultKind::Refused => assert_eq!((result.unwrap_err().applied, performed), (Applied::No, 2)),
            FaultKind::Transient => assert_eq!((result.is_ok(), performed), (true, 3), "tried again"),
            FaultKind::TimeoutApplied => assert_eq!((result.unwrap_err().applied, performed), (Applied::Unknown, 3)),
            FaultKind::TimeoutNotApplied => assert_eq!((result.unwrap_err().applied, performed), (Applied::Unknown, 2)),
            other => unreachable!("{other}"),
        }
    }
}

trait IntoText {
    fn into_text(self) -> deployer::base::duration_text::DurationText;
}

impl IntoText for Duration {
    fn into_text(self) -> deployer::base::duration_text::DurationText {
        deployer::base::duration_text::DurationText(self)
    }
}
