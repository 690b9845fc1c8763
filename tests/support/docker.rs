//! The real Docker, for setting scenes and for looking: names of its own, everything removed when dropped.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::deadline::until;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One test's corner of the engine.
pub struct Docker {
    prefix: String,
    /// Another engine than that of `DOCKER_HOST`.
    host: Option<String>,
}

impl Docker {
    /// # Panics
    /// Without a daemon: `tests/run` starts one where none is.
    pub fn new() -> Self {
        static BASE: OnceLock<()> = OnceLock::new();
        let docker = Self::corner(None);
        BASE.get_or_init(|| docker.need_base());
        docker
    }

    /// On the engine at this address.
    pub fn at(host: String) -> Self {
        let docker = Self::corner(Some(host));
        docker.need_base();
        docker
    }

    fn corner(host: Option<String>) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("dt{}x{n}", std::process::id()), host }
    }

    /// Makes sure that the image is there that the apps are built on.
    fn need_base(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python-base");
        let output = self.led(Command::new(script)).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no Python base image (no Docker? `tests/run` starts one): {why}");
    }

    fn led(&self, mut command: Command) -> Command {
        command.envs(self.host.iter().map(|host| ("DOCKER_HOST", host)));
        command
    }

    fn program(&self) -> Command {
        self.led(Command::new("docker"))
    }

    /// The address of an engine that is not the usual one.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// A name that only this test has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Runs the `docker` program.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.program().args(args).output().unwrap();
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The same; none when it fails.
    pub fn try_cli(&self, args: &[&str]) -> Option<String> {
        let output = self.program().args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// An address of this machine that is not the loopback: the engine's own on its usual bridge.
    #[track_caller]
    pub fn bridge_address(&self) -> String {
        let format = "{{with index .IPAM.Config 0}}{{.Gateway}}|{{.Subnet}}{{end}}";
        let told = self.cli(&["network", "inspect", "bridge", "--format", format]);
        // A daemon at its first start names the subnet alone; the bridge has its first address.
        match told.split_once('|').unwrap() {
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

    /// An image like `base` with more instructions: a release that is broken in some way.
    #[track_caller]
    pub fn derive(&self, base: &str, tag: &str, instructions: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = format!("FROM {base}\nENV APP_VERSION={tag}\n{instructions}\n");
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let image = format!("{}:{tag}", base.split(':').next().unwrap());
        self.cli(&["build", "--no-cache", "--quiet", "--tag", &image, folder.path().to_str().unwrap()]);
        image
    }

    /// Names of this test's containers, running ones only or all.
    pub fn containers(&self, all: bool) -> Vec<String> {
        let filter = format!("name=^/?{}-", self.prefix);
        let mut args = vec!["ps", "--format", "{{.Names}}", "--filter", &filter];
        args.extend(all.then_some("--all"));
        let mut names: Vec<_> = self.cli(&args).lines().map(|name| name[self.prefix.len() + 1..].to_owned()).collect();
        names.sort();
        names
    }

    /// What `docker inspect` says of a container, image or volume.
    #[track_caller]
    pub fn inspect(&self, what: &str) -> Value {
        let mut list: Vec<Value> = serde_json::from_str(&self.cli(&["inspect", what])).unwrap();
        list.remove(0)
    }

    /// The image that a running container was made from, by its id.
    #[track_caller]
    pub fn image_of(&self, container: &str) -> String {
        self.inspect(container)["Image"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, patience: Duration, look: impl Fn(&Self) -> bool) {
        until(what, patience, || look(self).then_some(()));
    }

    fn remove(&self, list: &[&str], remove: &[&str]) {
        let listed = self.program().args(list).output().map(|output| output.stdout).unwrap_or_default();
        let names = String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect::<Vec<_>>();
        if !names.is_empty() {
            // What cannot be removed is seen by `tests/run`, which looks for leftovers.
            let _ = self.program().args(remove).args(names).output();
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let name = format!("name={}", self.prefix);
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
