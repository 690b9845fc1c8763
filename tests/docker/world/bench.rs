//! A test bench on the shared engine: unique names per test, and cleanup afterwards.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::base::vault::Vault;
use deployer::effect::container::Container;
use deployer::effect::{EffectError, Outcome, Request};
use deployer::world::docker::DockerWorld;
use deployer::world::process_identity::ProcessIdentity;
use deployer::world::{Call, Progress, World};
use serde::de::DeserializeOwned;

/// An image with busybox, kept between test runs because images cannot be pulled here.
pub const IMAGE: &str = "deployer-docker-world-base:1";
pub const SECRET: &str = "hunter2hunter2";
pub const CONNECT: Duration = Duration::from_secs(15);
/// How long to poll for a condition.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub struct Bench {
    pub world: DockerWorld,
    pub call: Call,
    pub prefix: String,
    pub progress: Arc<Mutex<Vec<Progress>>>,
}

impl Bench {
    pub async fn new() -> Self {
        build_base();
        let world = DockerWorld::connect(None, holder(), CONNECT).await.expect("a docker engine answers");
        Self::over(world)
    }

    pub fn over(world: DockerWorld) -> Self {
        let run = random_run();
        let progress: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let mut call = call_of(&run);
        let sink = Arc::clone(&progress);
        call.progress = Arc::new(move |step| sink.lock().unwrap().push(step));
        Self { world, call, prefix: format!("dw-{run}"), progress }
    }

    /// Returns a name that no other test uses.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, EffectError> {
        perform(&self.world, &self.call, request).await
    }

    /// Performs a request given as JSON, as a script would with an object map.
    pub async fn json<R: Request>(&self, request: serde_json::Value) -> Result<R::Reply, EffectError> {
        self.ask(serde_json::from_value::<R>(request).expect("the request is well formed")).await
    }

    /// Runs a container with a line of shell.
    pub async fn shell(&self, name: &str, line: &str) -> Container {
        self.json::<deployer::effect::container::RunContainer>(serde_json::json!({
            "name": self.name(name), "image": IMAGE, "command": ["sh", "-c", line],
        }))
        .await
        .unwrap()
    }

    pub async fn look(&self, name: &str) -> Option<Container> {
        let request = serde_json::json!({"container": self.name(name), "missing_ok": true});
        self.json::<deployer::effect::container::InspectContainer>(request).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = format!("label=deployer.run={}", self.call.run);
        let name = format!("name={}", self.prefix);
        for (list, remove) in [
            (&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label][..], &["rm", "--force", "--volumes"][..]),
            (&["ps", "--all", "--quiet", "--no-trunc", "--filter", &name], &["rm", "--force", "--volumes"]),
            (&["volume", "ls", "--quiet", "--filter", &name], &["volume", "rm", "--force"]),
            (&["volume", "ls", "--quiet", "--filter", &label], &["volume", "rm", "--force"]),
            (&["network", "ls", "--quiet", "--filter", &name], &["network", "rm"]),
        ] {
            docker_each(list, remove);
        }
        let mine = |tag: &&str| tag.contains(&self.prefix);
        let tags = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        for tag in tags.lines().filter(mine) {
            docker(&["rmi", "--force", tag]);
        }
    }
}

fn docker_each(list: &[&str], remove: &[&str]) {
    let found = docker(list);
    if found.trim().is_empty() {
        return;
    }
    let arguments: Vec<&str> = remove.iter().copied().chain(found.split_whitespace()).collect();
    docker(&arguments);
}

/// Returns the output of the docker program, empty when it fails.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker program runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn build_base() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if !docker(&["images", "--quiet", IMAGE]).trim().is_empty() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/busybox", folder.path().join("busybox")).expect("busybox-static is installed");
        std::fs::write(
            folder.path().join("Dockerfile"),
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nCMD [\"sh\"]\n",
        )
        .unwrap();
        let status = Command::new("docker")
            .args(["build", "--quiet", "--tag", IMAGE])
            .arg(folder.path())
            .env("DOCKER_BUILDKIT", "0")
            .status()
            .unwrap();
        assert!(status.success(), "the base image can be built");
    });
}

pub fn holder() -> ProcessIdentity {
    ProcessIdentity::this_process().unwrap()
}

pub fn random_run() -> RunId {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).unwrap();
    RunId::from_bytes(bytes)
}

pub fn call_of(run: &RunId) -> Call {
    let vault = Vault::new(|name| (name == "TOKEN").then(|| SECRET.into()));
    Call::silent(run.clone(), Branch::root().next(), Arc::new(vault))
}

pub async fn perform<R: Request>(world: &DockerWorld, call: &Call, request: R) -> Result<R::Reply, EffectError> {
    let effect = request.into();
    world.perform(call, &effect).await.map(|outcome| reply::<R::Reply>(&outcome))
}

fn reply<T: DeserializeOwned>(outcome: &Outcome) -> T {
    serde_json::from_value(outcome.value()).expect("the reply has the type of the request")
}

/// Returns a port that is free at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Polls until `poll` returns a value.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut poll: impl FnMut() -> F) -> T {
    let end = tokio::time::Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the address accepts connections.
pub async fn answers(address: SocketAddr) {
    eventually("an answer", || async move { tokio::net::TcpStream::connect(address).await.ok() }).await;
}

#[track_caller]
pub fn refused<T: Debug>(answer: Result<T, EffectError>, kind: deployer::effect::ErrorKind) -> EffectError {
    let error = answer.expect_err("it is refused");
    assert_eq!(error.kind, kind, "{error:?}");
    error
}

#[track_caller]
pub fn unchanged(error: &EffectError) {
    assert_eq!(error.applied, deployer::effect::Applied::No, "{error:?}");
}
