//! The services that both real worlds share, with real servers, repositories, databases and programs.

mod compose;
mod email;
mod exec;
mod git;
mod health;
mod host;
mod http;
mod load;
mod log_streams;
mod notify;
mod sqlite;
mod sqlite_copies;
mod sqlite_damage;
mod storage;

use std::sync::Arc;

use crate::support::documented_errors::assert_documented;
use crate::support::fake_engine::FakeEngine;
use deployer::base::run_id::RunId;
use deployer::base::vault::Vault;
use deployer::effect::{Effect, EffectError};
use deployer::world::clock::{Clock, SystemClock};
use deployer::world::services::Services;
use deployer::world::{Call, Progress};
use serde_json::Value;

/// Services on a fake engine. Effects are given as in the journal: kind and arguments.
struct Fixture {
    engine: Arc<FakeEngine>,
    services: Services,
    call: Call,
}

const SECRET: &str = "hunter2-hunter2";

impl Fixture {
    fn new() -> Self {
        Self::over(FakeEngine::default())
    }

    /// With one secret, `TOKEN`, and one environment variable, `HOME_TOWN`.
    fn over(engine: FakeEngine) -> Self {
        Self::with(engine, Arc::new(SystemClock::default()))
    }

    fn with(engine: FakeEngine, clock: Arc<dyn Clock>) -> Self {
        let engine = Arc::new(engine);
        let env = Arc::new(|name: &str| (name == "HOME_TOWN").then(|| "Ulm".to_owned()));
        let services = Services::new(engine.clone(), clock, env);
        let vault = Vault::new(|name| (name == "TOKEN").then(|| SECRET.into()));
        let call = Call::silent(RunId::from_bytes([7; 10]), "1".parse().unwrap(), Arc::new(vault));
        Self { engine, services, call }
    }

    async fn ask(&self, kind: &str, args: Value) -> Result<Value, EffectError> {
        let effect = Effect::decode(kind, args).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let answer = self.services.perform(&self.call, &effect).await.map(|outcome| outcome.value());
        answer.inspect_err(|error| assert_documented(kind, error))
    }

    async fn refused(&self, kind: &str, args: Value) -> EffectError {
        self.ask(kind, args).await.expect_err(kind)
    }

    /// Records the progress messages of the following effects.
    fn record_progress(&mut self) -> Arc<std::sync::Mutex<Vec<String>>> {
        let progress = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = Arc::clone(&progress);
        self.call.progress = Arc::new(move |progress: Progress| sink.lock().unwrap().push(progress.text));
        progress
    }
}

#[tokio::test]
async fn effects_of_the_world_itself_are_not_handled() {
    let error = Fixture::new().refused("volume_list", serde_json::json!({})).await;
    assert_eq!(error.kind, deployer::effect::ErrorKind::Internal);
}

#[tokio::test]
async fn time_effects() {
    let fixture = Fixture::new();
    let now = fixture.ask("now", serde_json::json!({})).await.unwrap();
    let text: jiff::Timestamp = now["text"].as_str().unwrap().parse().unwrap();
    assert_eq!(text.as_millisecond(), now["unix_ms"].as_i64().unwrap());
    fixture.ask("sleep", serde_json::json!({"duration": "1ms"})).await.unwrap();
    fixture.call.cancel.cancel();
    let error = fixture.refused("sleep", serde_json::json!({"duration": "1h"})).await;
    assert_eq!(error.kind, deployer::effect::ErrorKind::Cancelled);
}
