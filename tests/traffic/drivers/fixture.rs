//! The fixture of these tests: a proxy program, and the services that control it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deployer::base::run_id::RunId;
use deployer::base::vault::Vault;
use deployer::effect::{Effect, EffectError, ErrorKind};
use deployer::world::Call;
use deployer::world::clock::SystemClock;
use deployer::world::services::Services;
use serde_json::{Value, json};

use crate::support::async_http::{get, send};
use crate::support::fake_engine::FakeEngine;
use crate::support::route_program::{Kind, Program};
use crate::support::target::TestTarget;

pub struct DriverFixture {
    pub program: Program,
    pub engine: Arc<FakeEngine>,
    services: Services,
    epoch: AtomicU64,
}

/// Services on an engine that stores the routes.
pub fn services(engine: &Arc<FakeEngine>) -> Services {
    Services::new(engine.clone(), Arc::new(SystemClock::default()), Arc::new(|_: &str| None))
}

impl DriverFixture {
    pub fn start(kind: Kind) -> Self {
        let engine = Arc::new(FakeEngine::default());
        let services = services(&engine);
        Self { program: Program::start(kind), engine, services, epoch: AtomicU64::new(1) }
    }

    /// Starts a program with a route for everything to these targets.
    pub async fn serving(kind: Kind, targets: &[(&str, &TestTarget, u32)]) -> Self {
        let fixture = Self::start(kind);
        fixture.done("traffic_route", fixture.route()).await;
        fixture.set(targets).await.unwrap();
        fixture
    }

    pub fn address(&self) -> SocketAddr {
        self.program.address
    }

    pub fn route(&self) -> Value {
        json!({"service": "web", "address": self.address().to_string(), "driver": self.program.driver()})
    }

    pub async fn ask(&self, kind: &str, args: Value) -> Result<Value, EffectError> {
        self.ask_as(Some(self.epoch.load(Ordering::SeqCst)), kind, args).await
    }

    /// Performs an effect as a run that holds the lock with this epoch.
    pub async fn ask_as(&self, epoch: Option<u64>, kind: &str, args: Value) -> Result<Value, EffectError> {
        let effect = Effect::decode(kind, args).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let call = Call::silent(RunId::from_bytes([7; 10]), "1".parse().unwrap(), Arc::new(Vault::new(|_| None)));
        let call = Call { epoch, ..call };
        self.services.perform(&call, &effect).await.map(|outcome| outcome.value())
    }

    pub async fn done(&self, kind: &str, args: Value) -> Value {
        self.ask(kind, args).await.unwrap_or_else(|error| panic!("{kind}: {error} {:?}", error.detail))
    }

    pub async fn refused(&self, kind: &str, args: Value) -> EffectError {
        self.ask(kind, args).await.expect_err(kind)
    }

    pub async fn kind_of_refusal(&self, kind: &str, args: Value) -> ErrorKind {
        self.refused(kind, args).await.kind
    }

    pub async fn set(&self, targets: &[(&str, &TestTarget, u32)]) -> Result<Value, EffectError> {
        self.ask("traffic_set", step(targets)).await
    }

    /// Switches as a newer run.
    pub async fn switch(&self, to: &str) -> Value {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.done("traffic_switch", json!({"service": "web", "target": to})).await
    }

    pub async fn drain(&self, target: &str, deadline: &str) -> Value {
        self.done("traffic_drain", json!({"service": "web", "target": target, "deadline": deadline})).await
    }

    pub async fn show(&self) -> Value {
        self.done("traffic_show", json!({"service": "web"})).await
    }

    /// Names and weights, read back from the program.
    pub async fn weights(&self) -> Vec<(String, u64)> {
        let shown = self.show().await;
        let targets = shown["targets"].as_array().unwrap().iter();
        targets
            .map(|target| (target["name"].as_str().unwrap().to_owned(), target["weight"].as_u64().unwrap()))
            .collect()
    }

    pub async fn forget(&self) {
        self.done("traffic_forget", json!({"service": "web"})).await;
    }

    /// Body of the answer to a client.
    pub async fn answer(&self) -> String {
        send(self.address(), get("/")).await.unwrap().text
    }
}

pub fn step(targets: &[(&str, &TestTarget, u32)]) -> Value {
    let target = |(name, target, weight): &(&str, &TestTarget, u32)| json!({"name": name, "address": target.address.to_string(), "weight": weight});
    json!({"service": "web", "targets": targets.iter().map(target).collect::<Vec<_>>()})
}
