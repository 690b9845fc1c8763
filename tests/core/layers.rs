//! The layers of the gateway, one by one, each on a minimal world.

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

use crate::test_run::{SECRET, header, vault};

type PerformResult = Result<Outcome, EffectError>;
type Perform = dyn Fn(&Call, &Effect) -> Option<PerformResult> + Send + Sync;

/// A world that answers with what a closure returns. With `None` it never answers.
struct ClosureWorld {
    perform: Box<Perform>,
    clock: Arc<dyn Clock>,
}

impl World for ClosureWorld {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, PerformResult> {
        Box::pin(async move {
            match (self.perform)(call, effect) {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

struct TestGateway {
    gateway: Gateway,
    ledger: Arc<Ledger>,
    journal: Arc<MemoryJournal>,
    cancel: Cancel,
    branch: Branch,
}

impl TestGateway {
    fn new(
        faults: Vec<FaultRule>,
        perform: impl Fn(&Call, &Effect) -> Option<PerformResult> + Send + Sync + 'static,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::starting_at(0));
        let journal = Arc::new(MemoryJournal::default());
        let run = RunId::from_bytes([3; 10]);
        let ledger = Arc::new(Ledger::new(run, journal.clone(), clock.clone(), vault(), Arc::new(|_| {})));
        let start = Entry::RunStarted { header: Box::new(header(&json!({}), "d".into())) };
        ledger.record(start, Durability::Power).unwrap();
        let world = Arc::new(ClosureWorld { perform: Box::new(perform), clock });
        let cancel = Cancel::default();
        let gateway = Gateway::new(world, ledger.clone(), cancel.clone(), Some(Arc::new(Faults::new(faults))));
        Self { gateway, ledger, journal, cancel, branch: Branch::root() }
    }

    async fn perform(&self, effect: impl Into<Effect>) -> PerformResult {
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

fn empty_image_list() -> PerformResult {
    Ok(Outcome::decode("docker_images", json!([])).unwrap())
}

fn exec_output(text: &str) -> Option<PerformResult> {
    let value = json!({"exit_code": 0, "stdout": text, "stderr": "", "truncated": false});
    Some(Outcome::decode("exec", value).map_err(|error| panic!("{error}")))
}

fn slept() -> Option<PerformResult> {
    Some(Ok(Outcome::decode("sleep", json!(null)).unwrap()))
}

fn unavailable() -> EffectError {
    EffectError::new(ErrorKind::Unavailable, "no answer")
}

#[tokio::test]
async fn an_effect_that_never_returns_times_out() {
    let gateway = TestGateway::new(Vec::new(), |_, effect| (effect.kind() == "docker_images").then(empty_image_list));
    let error = gateway.perform(build("50ms")).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Timeout, Applied::Unknown));
    assert_eq!(error.message, "`docker_build` timed out after 50ms");
    assert_eq!(gateway.names(), ["intended", "failed"]);
}

#[tokio::test]
async fn no_effect_starts_after_a_cancel() {
    let gateway = TestGateway::new(Vec::new(), |_, _| panic!("performed"));
    gateway.cancel.forward.cancel();
    let error = gateway.perform(get()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Cancelled, Applied::No));
    assert!(gateway.names().is_empty(), "not even an intent");
}

#[tokio::test]
async fn a_cancel_drops_an_interruptible_effect_after_a_grace_period() {
    let gateway = TestGateway::new(Vec::new(), |_, effect| (effect.kind() == "docker_images").then(empty_image_list));
    let cancel = gateway.cancel.forward.clone();
    let (result, ()) = tokio::join!(gateway.perform(build("30m")), async { cancel.cancel() });
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Cancelled, Applied::Unknown));
}

#[tokio::test]
async fn a_cancel_lets_a_change_finish_and_a_second_one_does_not() {
    let cancel_of_call = Arc::new(Mutex::new(None));
    let keep = cancel_of_call.clone();
    let gateway = TestGateway::new(Vec::new(), move |call, _| {
        *keep.lock().unwrap() = Some(call.cancel.clone());
        None
    });
    let cancel = gateway.cancel.clone();
    let (result, ()) = tokio::join!(gateway.perform(run_web()), async {
        while cancel_of_call.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let call = cancel_of_call.lock().unwrap().clone().unwrap();
        cancel.forward.cancel();
        assert!(!call.is_cancelled());
        cancel.everything.cancel();
        assert!(call.is_cancelled());
    });
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn transient_faults_are_retried_where_that_is_safe() {
    for (effect, tries) in [(Effect::from(get()), 3), (stop_web().into(), 3), (run_web().into(), 1), (exec().into(), 1)]
    {
        let seen = Arc::new(AtomicU32::new(0));
        let (count, kind) = (seen.clone(), effect.kind());
        let gateway = TestGateway::new(Vec::new(), move |_, effect| {
            if effect.kind() != kind {
                let answer = if effect.kind() == "traffic_list" { json!([]) } else { json!(null) };
                return Some(Ok(Outcome::decode(effect.kind(), answer).unwrap()));
            }
            count.fetch_add(1, Ordering::Relaxed);
            Some(Err(unavailable()))
        });
        assert_eq!(gateway.perform(effect).await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(seen.load(Ordering::Relaxed), tries, "{kind}");
        assert_eq!(gateway.names(), ["intended", "failed"], "{kind}: one entry for all tries");
    }
    let tries = AtomicU32::new(0);
    let gateway = TestGateway::new(Vec::new(), move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Some(Err(unavailable())),
        _ => slept(),
    });
    gateway.perform(Sleep { duration: "1s".parse().unwrap() }).await.unwrap();
    let gateway = TestGateway::new(Vec::new(), |_, _| Some(Err(EffectError::new(ErrorKind::Refused, "no"))));
    assert_eq!(gateway.perform(get()).await.unwrap_err().kind, ErrorKind::Refused);
}

#[tokio::test]
async fn outcomes_and_errors_are_redacted() {
    let gateway = TestGateway::new(Vec::new(), |call, _| {
        let value = call.vault.expose("TOKEN").unwrap();
        call.report_progress(format!("progress {value}"));
        exec_output(&format!("out {value}"))
    });
    let outcome = gateway.perform(exec()).await.unwrap();
    assert_eq!(outcome.value()["stdout"], "out <secret TOKEN>");
    let gateway = TestGateway::new(Vec::new(), |call, _| {
        let value = call.vault.expose("TOKEN").unwrap();
        Some(Err(EffectError::new(ErrorKind::Failed, value.clone()).hint(value.clone()).detail(value)))
    });
    let error = gateway.perform(exec()).await.unwrap_err();
    assert!(!format!("{error:?} {:?}", gateway.entries()).contains(SECRET));
}

#[tokio::test]
async fn the_intent_and_the_undo_are_written_before_the_effect() {
    let current_ledger: Arc<Mutex<Option<Arc<Ledger>>>> = Arc::default();
    let ledger = current_ledger.clone();
    let gateway = TestGateway::new(Vec::new(), move |_, _| {
        let ledger = ledger.lock().unwrap().clone().unwrap();
        let state = ledger.state();
        assert_eq!((state.under_way.len(), state.undo_stack.len(), state.has_changed_something()), (1, 1, true));
        let last = ledger.journal().records(ledger.run()).unwrap().pop().unwrap();
        assert_eq!(last.entry.name(), "intended");
        Some(Err(EffectError::new(ErrorKind::Timeout, "no answer in time")))
    });
    *current_ledger.lock().unwrap() = Some(gateway.ledger.clone());
    gateway.perform(run_web()).await.unwrap_err();
    let state = gateway.ledger.state();
    assert_eq!((state.under_way.len(), state.undo_stack.len(), state.has_changed_something()), (0, 1, true));
    drop(state);
    assert_eq!(gateway.names(), ["intended", "failed"]);
}

#[tokio::test]
async fn an_effect_whose_intent_is_not_written_is_not_performed() {
    let gateway = TestGateway::new(Vec::new(), |_, _| panic!("performed"));
    gateway.journal.fill_up_after(0);
    let error = gateway.perform(run_web()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Journal, Applied::No));
    let state = gateway.ledger.state();
    assert!(state.undo_stack.is_empty() && state.under_way.is_empty() && !state.has_changed_something());
}

#[tokio::test]
async fn an_unwritten_outcome_keeps_the_undo() {
    let gateway = TestGateway::new(Vec::new(), |_, _| Some(Err(EffectError::new(ErrorKind::Failed, "x"))));
    gateway.journal.fill_up_after(1);
    let error = gateway.perform(run_web()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Journal, Applied::Unknown));
    assert_eq!(gateway.ledger.state().undo_stack.len(), 1);
}

#[tokio::test]
async fn an_effect_is_not_performed_if_its_prior_state_cannot_be_read() {
    let gateway = TestGateway::new(Vec::new(), |_, effect| match effect.kind() {
        "docker_inspect" => Some(Err(EffectError::new(ErrorKind::Refused, "not allowed"))),
        other => panic!("{other} performed"),
    });
    let error = gateway.perform(stop_web()).await.unwrap_err();
    assert_eq!((error.kind, error.applied), (ErrorKind::Refused, Applied::No));
    assert_eq!(gateway.names(), ["intended", "failed"]);
    assert!(!gateway.ledger.state().has_changed_something());
}

#[tokio::test]
async fn a_deeply_nested_outcome_fails_the_effect_and_not_the_journal() {
    let gateway = TestGateway::new(Vec::new(), |_, _| {
        let deep = (0..80).fold(json!(1), |inner, _| json!([inner]));
        let reply =
            json!({"status": 200, "headers": {}, "body": "", "json": deep, "elapsed_ms": 1, "truncated": false});
        Some(Ok(Outcome::decode("http_get", reply).unwrap()))
    });
    let error = gateway.perform(get()).await.unwrap_err();
    assert_eq!(error.message, "the outcome of `http_get` is nested deeper than 64 levels");
    assert_eq!(gateway.names(), ["intended", "failed"]);
}

#[tokio::test]
async fn faults_hit_the_nth_effect_of_a_kind_and_subject() {
    let rule = |fault| FaultRule { kind: "sleep".into(), subject: "2s".into(), nth: 2, fault };
    for fault in [FaultKind::Refused, FaultKind::Transient, FaultKind::TimeoutApplied, FaultKind::TimeoutNotApplied] {
        let done = Arc::new(AtomicU32::new(0));
        let count = done.clone();
        let gateway = TestGateway::new(vec![rule(fault)], move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            slept()
        });
        let sleep = |secs| Sleep { duration: Duration::from_secs(secs).into_text() };
        for secs in [2, 1] {
            gateway.perform(sleep(secs)).await.unwrap();
        }
        let result = gateway.perform(sleep(2)).await;
        let performed = done.load(Ordering::Relaxed);
        match fault {
            FaultKind::Refused => assert_eq!((result.unwrap_err().applied, performed), (Applied::No, 2)),
            FaultKind::Transient => assert_eq!((result.is_ok(), performed), (true, 3), "retried"),
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

#[test]
fn a_stop_whose_answer_was_lost_is_undone_although_the_retries_were_refused() {
    use crate::test_run::test_run;
    let script = r#"docker_run(#{name: "web", image: "web:v1"}); commit(); docker_stop("web");"#;
    let rule =
        FaultRule { kind: "docker_stop".into(), subject: String::new(), nth: 1, fault: FaultKind::ConnectionLost };
    let finished = test_run(script).fault(rule).run();
    assert_eq!(finished.status(), deployer::journal::entry::RunStatus::Failed, "{}", finished.report());
    assert!(finished.effects().iter().any(|effect| effect.starts_with("docker_start")), "{:?}", finished.effects());
    let state = finished.after.containers["web"].state;
    assert_eq!(state, deployer::effect::container::ContainerState::Running);
}
