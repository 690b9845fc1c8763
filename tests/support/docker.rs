//! The real Docker engine, to prepare tests and to inspect results. Names are unique to a test; everything is removed on drop.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::deadline::until;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The objects of one test on the engine, recognised by a name prefix.
pub struct Docker {
    prefix: String,
    /// The address of the engine, if it is not the one of `DOCKER_HOST`.
    host: Option<String>,
}

impl Docker {
    /// # Panics
    /// Panics if no daemon answers. `tests/run` starts one if necessary.
    pub fn new() -> Self {
        static BASE: OnceLock<()> = OnceLock::new();
        let docker = Self::with_host(None);
        BASE.get_or_init(|| docker.ensure_base_image());
        docker
    }

    /// Uses the engine at this address.
    pub fn at(host: String) -> Self {
        let docker = Self::with_host(Some(host));
        docker.ensure_base_image();
        docker
    }

    fn with_host(host: Option<String>) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("dt{}x{n}", std::process::id()), host }
    }

    /// Makes sure that the base image of the apps exists.
    fn ensure_base_image(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python-base");
        let output = self.with_docker_host(Command::new(script)).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no Python base image (no Docker? `tests/run` starts one): {why}");
    }

    fn with_docker_host(&self, mut command: Command) -> Command {
        command.envs(self.host.iter().map(|host| ("DOCKER_HOST", host)));
        command
    }

    fn program(&self) -> Command {
        self.with_docker_host(Command::new("docker"))
    }

    /// The address of the engine, if it is not the one of `DOCKER_HOST`.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Returns a name that is unique to this test.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Runs the `docker` program and returns its output.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.program().args(args).output().unwrap();
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs the `docker` program and returns its output, or `None` if it fails.
    pub fn try_cli(&self, args: &[&str]) -> Option<String> {
        let output = self.program().args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Returns an address of this machine other than loopback: the gateway of the engine's default bridge.
    #[track_caller]
    pub fn bridge_address(&self) -> String {
        let format = "{{with index .IPAM.Config 0}}{{.Gateway}}|{{.Subnet}}{{end}}";
        let output = self.cli(&["network", "inspect", "bridge", "--format", format]);
        // After its first start, a daemon reports only the subnet. The gateway is the first address in it.
        match output.split_once('|').unwrap() {
            ("", subnet) => subnet.split_once(".0/").map(|(network, _)| format!("{network}.1")).unwrap(),
            (gateway, _) => gateway.to_owned(),
        }
    }

    /// Builds `folder` into the image `NAME:TAG` and returns its name.
    #[track_caller]
    pub fn build(&self, folder: &Path, name: &str, tag: &str) -> String {
        let image = format!("{}:{tag}", self.name(name));
        let version = format!("APP_VERSION={tag}");
        self.cli(&[
            "build",
            "--no-cache",
            "--quiet",
            "--tag",
            &image,
            "--build-arg",
            &version,
            folder.to_str().unwrap(),
        ]);
        image
    }

    /// Builds an image from `base` with more instructions, such as a release that is broken in some way.
    #[track_caller]
    pub fn derive(&self, base: &str, tag: &str, instructions: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = format!("FROM {base}\nENV APP_VERSION={tag}\n{instructions}\n");
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let image = format!("{}:{tag}", base.split(':').next().unwrap());
        self.cli(&["build", "--no-cache", "--quiet", "--tag", &image, folder.path().to_str().unwrap()]);
        image
    }

    /// Returns the names of this test's containers: all of them, or only those that run.
    pub fn containers(&self, all: bool) -> Vec<String> {
        let filter = format!("name=^/?{}-", self.prefix);
        let mut args = vec!["ps", "--format", "{{.Names}}", "--filter", &filter];
        args.extend(all.then_some("--all"));
        let mut names: Vec<_> = self.cli(&args).lines().map(|name| name[self.prefix.len() + 1..].to_owned()).collect();
        names.sort();
        names
    }

    /// Returns the names of all containers, without the stopped ones that are kept as previous releases.
    pub fn current_containers(&self) -> Vec<String> {
        let running = self.containers(false);
        let mut all = self.containers(true);
        all.retain(|name| !name.contains("-release-") || running.contains(name));
        all
    }

    /// Returns the output of `docker inspect` for a container, image or volume.
    #[track_caller]
    pub fn inspect(&self, what: &str) -> Value {
        let mut list: Vec<Value> = serde_json::from_str(&self.cli(&["inspect", what])).unwrap();
        list.remove(0)
    }

    /// Returns the image id of a container.
    #[track_caller]
    pub fn image_of(&self, container: &str) -> String {
        self.inspect(container)["Image"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, timeout: Duration, is_done: impl Fn(&Self) -> bool) {
        until(what, timeout, || is_done(self).then_some(()));
    }

    fn remove(&self, list: &[&str], remove: &[&str]) {
        let listed = self.program().args(list).output().map(|output| output.stdout).unwrap_or_default();
        let names = String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect::<Vec<_>>();
        if !names.is_empty() {
            // `tests/run` looks for leftovers at the end, so errors can be ignored here.
            let _ = self.program().args(remove).args(names).output();
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // With the hyphen, because the prefix of this test may begin another one: `x1` and `x14`.
        let name = format!("name={}-", self.prefix);
        let reference = format!("reference={}-*:*", self.prefix);
        self.remove(&["ps", "-aq", "--filter", &name], &["rm", "-fv"]);
        self.remove(&["network", "ls", "-q", "--filter", &name], &["network", "rm"]);
        self.remove(&["volume", "ls", "-q", "--filter", &name], &["volume", "rm", "-f"]);
        self.remove(
            &["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &reference],
            &["rmi", "-f", "--no-prune"],
        );
    }
}
