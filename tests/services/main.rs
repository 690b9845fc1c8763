//! The services that the two real worlds share, against real servers, repositories, databases and programs.

#[path = "../support/mod.rs"]
mod support;

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

use deployer::base::run_id::RunId;
use deployer::base::vault::Vault;
use deployer::effect::{Effect, EffectError};
use deployer::world::clock::{Clock, SystemClock};
use deployer::world::services::Services;
use deployer::world::{Call, Progress};
use serde_json::Value;
use support::own_errors::assert_told;
use support::twin_engine::TwinEngine;

/// Services over a twin engine, asked in the journal's form.
struct Bench {
    engine: Arc<TwinEngine>,
    services: Services,
    call: Call,
}

const SECRET: &str = "hunter2-hunter2";

impl Bench {
    fn new() -> Self {
        Self::over(TwinEngine::default())
    }

    /// Knows one secret, `TOKEN`, and one variable, `HOME_TOWN`.
    fn over(engine: TwinEngine) -> Self {
        Self::with(engine, Arc::new(SystemClock::default()))
    }

    fn with(engine: TwinEngine, clock: Arc<dyn Clock>) -> Self {
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
        answer.inspect_err(|error| assert_told(kind, error))
    }

    async fn refused(&self, kind: &str, args: Value) -> EffectError {
        self.ask(kind, args).await.expect_err(kind)
    }

    /// Keeps what is told.
    fn hearing(&mut self) -> Arc<std::sync::Mutex<Vec<String>>> {
        let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        self.call.progress = Arc::new(move |progress: Progress| kept.lock().unwrap().push(progress.text));
        heard
    }
}

#[tokio::test]
async fn what_a_world_does_itself_is_not_routed_here() {
    let error = Bench::new().refused("volume_list", serde_json::json!({})).await;
    assert_eq!(error.kind, deployer::effect::ErrorKind::Internal);
}

#[tokio::test]
async fn time_is_asked_for() {
    let bench = Bench::new();
    let now = bench.ask("now", serde_json::json!({})).await.unwrap();
    let text: jiff::Timestamp = now["text"].as_str().unwrap().parse().unwrap();
    assert_eq!(text.as_millisecond(), now["unix_ms"].as_i64().unwrap());
    bench.ask("sleep", serde_json::json!({"duration": "1ms"})).await.unwrap();
    bench.call.cancel.cancel();
    let error = bench.refused("sleep", serde_json::json!({"duration": "1h"})).await;
    assert_eq!(error.kind, deployer::effect::ErrorKind::Cancelled);
}
