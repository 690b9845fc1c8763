//! Runs a deploy case on a real Docker Engine, with its own names and ports, and with injected faults.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use deployer::base::run_id::RunId;
use deployer::base::vault::Vault;
use deployer::effect::container::ContainerEffect;
use deployer::effect::fault::FaultKind;
use deployer::effect::{Effect, EffectError, ErrorKind, Outcome};
use deployer::gateway::fault::{FaultRule, Faults};
use deployer::gateway::ledger::Ledger;
use deployer::gateway::{Cancel, Gateway};
use deployer::journal::Journal;
use deployer::journal::entry::{Entry, Level, Process, RunEnd, RunHeader};
use deployer::journal::memory_journal::MemoryJournal;
use deployer::run::runner::Runner;
use deployer::verify::target::VerifyTarget;
use deployer::world::clock::Clock;
use deployer::world::docker::DockerWorld;
use deployer::world::process_identity::ProcessIdentity;
use deployer::world::real_world::RealWorld;
use deployer::world::{Call, World};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::end_state::{EndState, Response};
use crate::fixture::handle;
use crate::support::docker::Docker;
use crate::support::http;
use crate::support::ports::{free_pair, free_port};

const CONNECT: Duration = Duration::from_secs(10);
/// Time between two requests to the public port.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);
/// How long an app may take to answer after the run has ended.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// Names in the deploy cases that are replaced by unique names here.
const RENAMED_PREFIXES: [&str; 2] = ["web", "logo"];
/// An app that serves one page, ends 100 ms after SIGTERM like the simulated apps, and keeps dying once `/dies` exists.
const APP: &str = "trap '/bin/busybox sleep 0.1; exit 0' TERM\nfor port in 5000 8000; do /bin/busybox httpd -f -p $port -h /www & done\n\
                   while [ ! -e /dies ]; do /bin/busybox sleep 0.05 & wait $!; done\nexit 1\n";

/// The base images of all hosts, built once. The tag is the page that the app serves.
static PAGES: LazyLock<Docker> = LazyLock::new(|| {
    let docker = Docker::new();
    for page in ["v1", "v2", "ok"] {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::copy("/bin/busybox", folder.path().join("busybox")).expect("the package busybox-static");
        write("page", page);
        write("app.sh", APP);
        write(
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nCOPY page /www/index.html\n\
             COPY page /www/api/v1/health\nCOPY app.sh /app.sh\nCMD [\"/bin/sh\", \"/app.sh\"]\n",
        );
        docker.build(folder.path(), "page", page);
    }
    docker
});

/// Removes the shared images, because statics are never dropped.
pub fn remove_shared_images() {
    for page in ["v1", "v2", "ok"] {
        PAGES.cli(&["image", "rm", "-f", &format!("{}:{page}", PAGES.name("page"))]);
    }
}

pub struct DockerHost {
    docker: Docker,
    port: u16,
    green_port: u16,
}

/// What was observed during a real run.
pub struct RealRun {
    pub end_state: EndState,
    /// The error and the warnings.
    pub messages: Vec<String>,
    /// The longest time without a good response, in ms; `None` if there is no response at the end.
    pub outage: Option<u64>,
    /// Exit code of the container that served at the beginning, if it ended.
    pub blue_exit_code: Option<i64>,
}

impl DockerHost {
    pub fn new() -> Self {
        Self { docker: Docker::new(), port: free_port(), green_port: free_pair() }
    }

    /// Replaces the names and ports of the case by those of this host.
    pub fn rename(&self, target: &mut VerifyTarget) {
        // The defaults of the scripts are made explicit, so that they can be replaced too.
        let defaults = match target.source.name.as_str() {
            "logo_detection.rhai" => json!({"service": "logo-detection-api", "port": 8000, "new_port": 8001}),
            "rollback.rhai" => json!({}),
            _ => json!({"port": 8080, "green_port": 8081}),
        };
        target.given.as_object_mut().unwrap().extend(defaults.as_object().unwrap().clone());
        let kept = target.given.get("compose_service").cloned();
        target.given = self.renamed(&target.given);
        target.given.as_object_mut().unwrap().extend(kept.map(|service| ("compose_service".to_owned(), service)));
        let scenario = &mut target.scenario;
        let renamed = |value: Value| self.renamed(&value);
        scenario.containers =
            serde_json::from_value(renamed(serde_json::to_value(&scenario.containers).unwrap())).unwrap();
        scenario.projects = serde_json::from_value(renamed(serde_json::to_value(&scenario.projects).unwrap())).unwrap();
        for name in scenario.images.iter_mut().flat_map(|image| &mut image.names) {
            *name = self.text(name);
        }
        if let Some(public) = &mut target.public {
            public.port = self.port;
        }
    }

    fn renamed(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Number(number) => match number.as_u64().and_then(|number| self.port_for(number)) {
                Some(port) => port.into(),
                None => value.clone(),
            },
            Value::Array(all) => all.iter().map(|one| self.renamed(one)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.renamed(value))).collect(),
            _ => value.clone(),
        }
    }

    fn port_for(&self, number: u64) -> Option<u16> {
        match number {
            8080 | 8000 => Some(self.port),
            8081 | 8001 => Some(self.green_port),
            _ => None,
        }
    }

    fn text(&self, text: &str) -> String {
        let is_renamed = |prefix: &str| {
            text.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-']))
        };
        if RENAMED_PREFIXES.into_iter().any(is_renamed) {
            return self.docker.name(text);
        }
        match text.split_once(':').and_then(|(host, inside)| Some((self.port_for(host.parse().ok()?)?, inside))) {
            Some((port, inside)) => format!("{port}:{inside}"),
            None => text.to_owned(),
        }
    }

    /// Creates the healthy images and the containers of the scenario.
    fn set_up(&self, target: &VerifyTarget) {
        for image in target.scenario.images.iter().filter(|image| !image.behaviour.response.body.is_empty()) {
            let page = &image.behaviour.response;
            if image.behaviour.dies_after_ms.is_none() && image.behaviour.ready && page.status == 200 {
                let base = format!("{}:{}", PAGES.name("page"), page.body);
                image.names.iter().for_each(|name| drop(self.docker.cli(&["tag", &base, name])));
            }
        }
        for placed in &target.scenario.containers {
            let spec = &placed.spec;
            let mut args = vec!["run", "-d", "--name", &spec.name, "--restart", "unless-stopped"];
            let ports: Vec<String> =
                spec.ports.iter().map(|port| format!("{}:{}", port.host_port, port.container_port)).collect();
            ports.iter().for_each(|port| args.extend(["-p", port]));
            args.push(&spec.image);
            self.docker.cli(&args);
        }
        let path = &target.public.as_ref().unwrap().path;
        crate::support::until("the old release", || {
            http::get(self.port, path).ok().filter(|answer| answer.status == 200)
        });
    }

    /// Runs the target on Docker, with these faults.
    pub fn run(&self, target: &VerifyTarget, faults: Vec<FaultRule>) -> RealRun {
        self.set_up(target);
        let path = target.public.as_ref().unwrap().path.clone();
        let blue = target.scenario.containers[0].spec.name.clone();
        let blue_id = self.docker.inspect(&blue)["Id"].as_str().unwrap().to_owned();
        let since = self.docker.cli(&["system", "info", "--format", "{{.SystemTime}}"]);
        let ended = AtomicBool::new(false);
        let (end, warnings, probes) = thread::scope(|scope| {
            let probes = scope.spawn(|| self.probe(&path, &ended));
            let (end, warnings) = run(target, faults);
            ended.store(true, Ordering::Release);
            (end, warnings, probes.join().unwrap())
        });
        let outage = probes.longest_outage();
        let until = self.docker.cli(&["system", "info", "--format", "{{.SystemTime}}"]);
        let died = self.docker.cli(&[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "event=die",
            "--filter",
            &format!("container={blue_id}"),
            "--format",
            "{{.Actor.Attributes.exitCode}}",
        ]);
        let containers = self.docker.containers(true).into_iter().map(|name| self.docker.name(&name));
        let containers = containers.map(|name| {
            let state = self.docker.inspect(&name)["State"]["Status"].as_str().unwrap().to_owned();
            (name, ["running", "restarting"].contains(&state.as_str()))
        });
        RealRun {
            end_state: EndState::of(&end, probes.last(), containers.collect(), warnings.iter().map(String::as_str)),
            messages: end.error.into_iter().chain(warnings.iter().cloned()).collect(),
            outage,
            blue_exit_code: died.lines().last().and_then(|code| code.parse().ok()),
        }
    }

    /// Sends requests until the run has ended, and then until there is a good response or the settle time is over.
    fn probe(&self, path: &str, ended: &AtomicBool) -> Probes {
        let mut probes = Probes(Vec::new());
        let mut deadline: Option<Instant> = None;
        loop {
            let seen = match http::get(self.port, path) {
                Ok(answer) if answer.status < 400 => Response::Good(answer.body.trim().to_owned()),
                Ok(_) => Response::Bad,
                Err(_) => Response::NoAnswer,
            };
            let good = matches!(seen, Response::Good(_));
            probes.0.push((Instant::now(), seen));
            if ended.load(Ordering::Acquire) {
                let deadline = deadline.get_or_insert_with(|| Instant::now() + SETTLE_TIME);
                if good || Instant::now() > *deadline {
                    return probes;
                }
            }
            thread::sleep(PROBE_INTERVAL);
        }
    }
}

struct Probes(Vec<(Instant, Response)>);

impl Probes {
    fn last(&self) -> Response {
        self.0.last().unwrap().1.clone()
    }

    fn longest_outage(&self) -> Option<u64> {
        let (mut longest, mut since) = (Duration::ZERO, None::<Instant>);
        for (at, seen) in &self.0 {
            if matches!(seen, Response::Good(_)) {
                longest = longest.max(since.take().map_or(Duration::ZERO, |since| *at - since));
            } else {
                since.get_or_insert(*at);
            }
        }
        since.is_none().then(|| u64::try_from(longest.as_millis()).unwrap())
    }
}

/// Runs the script in this process, through the whole gateway.
fn run(target: &VerifyTarget, faults: Vec<FaultRule>) -> (RunEnd, Vec<String>) {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let id = [u8::try_from(std::process::id() % 251).unwrap(), COUNT.fetch_add(1, Ordering::Relaxed)];
    let id = RunId::from_bytes([id[0], id[1], id[0], id[1], id[0] / 7, id[0] / 31, 3, 2, 1, id[1]]);
    let world = handle().block_on(connect());
    let clock = world.clock();
    let vault = Arc::new(Vault::empty());
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::default());
    let ledger = Ledger::new(id.clone(), journal.clone(), clock.clone(), vault, Arc::new(|_| {}));
    let world = Arc::new(FaultyWorld { inner: world, pending_faults: Mutex::default() });
    let faults = Some(Arc::new(Faults::new(faults)));
    let gateway = Arc::new(Gateway::new(world.clone(), Arc::new(ledger), Cancel::default(), faults));
    let process =
        Process { host: "here".into(), pid: 1, boot_id: "b".into(), pid_namespace: String::new(), process_start: 1 };
    let header = RunHeader {
        script: target.source.name.clone(),
        digest: target.source.digest().to_owned(),
        params: target.given.clone(),
        engine: "docker".into(),
        address: String::new(),
        engine_id: String::new(),
        engine_flags: String::new(),
        state_flags: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        working_dir: String::new(),
        process,
    };
    let runner = Runner {
        gateway,
        clock,
        source: target.source.clone(),
        loader: target.loader.clone(),
        given: target.given.clone(),
        header,
        render: Arc::new(|diagnostic| diagnostic.to_string()),
    };
    let end = runner.run(&handle()).unwrap();
    for pending in world.pending_faults.lock().unwrap().drain(..) {
        pending.join().unwrap();
    }
    let warnings = journal.records(&id).unwrap().into_iter().filter_map(|record| match record.entry {
        Entry::Logged { level: Level::Warn, text, .. } => Some(text),
        _ => None,
    });
    (end, warnings.collect())
}

async fn connect() -> RealWorld {
    let holder = ProcessIdentity::this_process().unwrap();
    let world = DockerWorld::connect(None, holder, CONNECT).await.expect("a Docker Engine that answers");
    let engine = world.engine();
    RealWorld::new(Arc::new(world), engine, Arc::new(|name| std::env::var(name).ok()))
}

/// A real world in which apps die or become unhealthy as the fault says.
struct FaultyWorld {
    inner: RealWorld,
    /// Faults that have not taken effect yet.
    pending_faults: Mutex<Vec<JoinHandle<()>>>,
}

impl World for FaultyWorld {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            match call.fault {
                None => self.inner.perform(call, effect).await,
                Some(FaultKind::Dies) => {
                    self.perform_then_exec(call, effect, &["touch", "/dies"], Duration::ZERO).await
                }
                // After it was found healthy, as in the simulated world.
                Some(FaultKind::BecomesUnhealthy) => {
                    self.perform_then_exec(call, effect, &["rm", "/www/index.html"], Duration::from_millis(900)).await
                }
                Some(FaultKind::Partial) => {
                    if let Effect::Container(ContainerEffect::Remove(request)) = effect {
                        docker(&["kill", &request.container.to_string()]);
                    }
                    Err(EffectError::new(ErrorKind::Failed, "failed half-way (injected)"))
                }
                Some(other) => panic!("`{other}` is not supported on Docker"),
            }
        })
    }
}

impl FaultyWorld {
    /// Performs the effect, then runs a program in the container that it started.
    async fn perform_then_exec(
        &self,
        call: &Call,
        effect: &Effect,
        program: &'static [&'static str],
        delay: Duration,
    ) -> Result<Outcome, EffectError> {
        let outcome = self.inner.perform(call, effect).await?;
        let id = outcome.value()["id"].as_str().expect("a container").to_owned();
        self.pending_faults.lock().unwrap().push(thread::spawn(move || {
            thread::sleep(delay);
            docker(&[&["exec", id.as_str(), "/bin/busybox"], program].concat());
        }));
        Ok(outcome)
    }
}

fn docker(args: &[&str]) {
    let output = std::process::Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
