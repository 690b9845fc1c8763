//! The context of one scenario: performs effects, given as typed requests or as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::base::vault::Vault;
use deployer::effect::container::{Container, ListContainers, ReadLogs};
use deployer::effect::image::{Image, ListImages};
use deployer::effect::network::ConnectNetwork;
use deployer::effect::time::Sleep;
use deployer::effect::volume::{ListVolumes, Volume};
use deployer::effect::{Effect, EffectError, ErrorKind, Outcome, Request};
use deployer::world::{Call, World};
use serde_json::{Value, json};

use crate::conformance::host::{App, Host};
use crate::support::documented_errors::assert_documented;

/// The host, names and run of one scenario.
pub struct ScenarioContext<'a> {
    pub host: &'a dyn Host,
    scenario: &'static str,
    run: RunId,
    branch: Branch,
    networks: Mutex<Vec<String>>,
}

impl<'a> ScenarioContext<'a> {
    pub fn new(host: &'a dyn Host, scenario: &'static str, number: u8) -> Self {
        let run = RunId::from_bytes([number, number, 1, 2, 3, 4, 5, 6, 7, 8]);
        Self { host, scenario, run, branch: Branch::root(), networks: Mutex::default() }
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// A run other than the scenario's.
    pub fn other_run(&self) -> RunId {
        RunId::from_bytes([31; 10])
    }

    /// A name that belongs to this scenario.
    pub fn name(&self, word: &str) -> String {
        format!("{}-{}_{word}", self.host.prefix(), self.scenario.replace('_', "-"))
    }

    pub fn image(&self, app: App) -> String {
        image_name(self.host, app)
    }

    /// The URL of a folder that belongs to this scenario.
    pub fn folder(&self) -> String {
        self.host.folder(self.scenario)
    }

    pub fn port(&self) -> u16 {
        self.host.free_port()
    }

    pub fn call(&self, run: &RunId) -> Call {
        Call::silent(run.clone(), self.branch.next(), Arc::new(Vault::empty()))
    }

    pub async fn perform(&self, effect: &Effect) -> Result<Outcome, EffectError> {
        self.host.world().perform(&self.call(&self.run), effect).await
    }

    /// Performs a request, given as JSON.
    pub async fn ask<R: Request>(&self, args: Value) -> Result<R::Reply, EffectError> {
        self.ask_as::<R>(&self.run, args).await
    }

    pub async fn ask_as<R: Request>(&self, run: &RunId, args: Value) -> Result<R::Reply, EffectError> {
        let answer = ask_world::<R>(self.host.world(), &self.call(run), args).await;
        answer.inspect_err(|error| assert_documented(R::KIND, error))
    }

    /// Performs a request that must succeed.
    pub async fn must<R: Request>(&self, args: Value) -> R::Reply {
        self.ask::<R>(args.clone()).await.unwrap_or_else(|error| panic!("{} {args}: {error:?}", R::KIND))
    }

    /// Waits until a container has logged this line, after which its signal handlers are set.
    pub async fn until_logged(&self, name: &str, line: &str) {
        const TRIES: usize = 200;
        for _ in 0..TRIES {
            let logs = self.must::<ReadLogs>(json!({ "container": self.name(name) })).await;
            if logs.lines.iter().any(|written| written == line) {
                return;
            }
            self.must::<Sleep>(json!({ "duration": "50ms" })).await;
        }
        panic!("`{name}` never wrote `{line}`");
    }

    /// Performs a request that must fail with this kind of error.
    pub async fn refused<R: Request>(&self, args: Value, kind: ErrorKind) -> EffectError {
        match self.ask::<R>(args.clone()).await {
            Ok(_) => panic!("{} {args}: succeeded instead of `{kind}`", R::KIND),
            Err(error) => {
                assert_eq!(error.kind, kind, "{} {args}: {error:?}", R::KIND);
                error
            }
        }
    }

    /// Starts an app under a name that belongs to this scenario.
    pub async fn start(&self, word: &str, app: App) -> Container {
        let spec = json!({ "name": self.name(word), "image": self.image(app) });
        self.must::<deployer::effect::container::RunContainer>(spec).await
    }

    /// Notes a network, to be removed at the end of the scenario.
    pub fn note_network(&self, name: &str) {
        self.networks.lock().unwrap().push(name.to_owned());
    }

    /// The containers, images and volumes of this scenario.
    pub async fn visible_state(&self) -> BTreeMap<String, Value> {
        let prefix = format!("{}-{}_", self.host.prefix(), self.scenario.replace('_', "-"));
        let mut seen = BTreeMap::new();
        let containers: Vec<Container> = self.must::<ListContainers>(json!({ "all": true })).await;
        for container in containers.into_iter().filter(|container| container.name.starts_with(&prefix)) {
            let networks: Vec<&String> = container.networks.keys().collect();
            let value = json!({ "id": container.id, "running": container.is_running(), "networks": networks });
            seen.insert(format!("container {}", container.name), value);
        }
        let images: Vec<Image> = self.must::<ListImages>(json!({})).await;
        for image in images {
            for tag in image.tags.iter().filter(|tag| tag.starts_with(&prefix)) {
                seen.insert(format!("image {tag}"), json!(image.id));
            }
        }
        let volumes: Vec<Volume> = self.must::<ListVolumes>(json!({})).await;
        for volume in volumes.into_iter().filter(|volume| volume.name.starts_with(&prefix)) {
            seen.insert(format!("volume {}", volume.name), json!(volume.labels));
        }
        seen
    }

    /// Removes the networks of this scenario. Its containers must be removed before.
    pub async fn remove_networks(&self) {
        use deployer::effect::network::RemoveNetwork;
        let names = self.networks.lock().unwrap().clone();
        for name in names {
            let _ = self.ask::<RemoveNetwork>(json!({ "name": name, "missing_ok": true })).await;
        }
    }

    /// Connects a container to a network, or disconnects it.
    pub async fn connect(&self, network: &str, container: &str, disconnect: bool) {
        let args = json!({ "network": network, "container": container, "disconnect": disconnect });
        self.must::<ConnectNetwork>(args).await;
    }
}

/// The name of an app's image on this host.
pub fn image_name(host: &dyn Host, app: App) -> String {
    format!("{}-{}:v1", host.prefix(), app.name())
}

pub async fn ask_world<R: Request>(world: &dyn World, call: &Call, args: Value) -> Result<R::Reply, EffectError> {
    let request: R = serde_json::from_value(args).expect("a request");
    let outcome = world.perform(call, &request.into()).await?;
    Ok(serde_json::from_value(outcome.value()).expect("the reply of the request"))
}
