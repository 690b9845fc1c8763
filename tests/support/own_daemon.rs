//! A Docker daemon of the test's own, which it may end, kill and start anew without anybody else noticing.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::deadline::until;

const PATIENCE: Duration = Duration::from_secs(120);

pub struct OwnDaemon {
    folder: TempDir,
    cgroup: String,
    /// The bridge of its containers; without one it has no networks at all.
    bridge: Option<String>,
    child: Option<Child>,
}

impl OwnDaemon {
    pub fn without_networks() -> Self {
        Self::start(None)
    }

    /// Its containers publish ports on this machine, through a bridge of its own and without firewall rules, and go on
    /// when it is killed: else Docker 20.10 leaves those down that are to run `unless-stopped`.
    pub fn with_bridge() -> Self {
        let number = std::process::id();
        let bridge = format!("dtd{number}");
        let run = |args: &[&str]| {
            let output = Command::new("busybox").args(args).output().expect("the package busybox-static");
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["brctl", "addbr", &bridge]);
        // Of the block for tests of networks; another one for each process.
        let address = format!("198.18.{}.1/24", number % 250);
        run(&["ip", "addr", "add", &address, "dev", &bridge]);
        run(&["ip", "link", "set", &bridge, "up"]);
        Self::start(Some(bridge))
    }

    fn start(bridge: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Its folder's name is its own alone.
        let name = folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let mut daemon = Self { folder, cgroup: format!("/deployer-own-{name}"), bridge, child: None };
        daemon.begin();
        daemon
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// Starts it, and waits until it answers.
    pub fn begin(&mut self) {
        until("the daemon's answer", PATIENCE, || self.answer());
    }

    /// What it says; starts it when it does not run, as a service manager does: on a busy machine it gives up on its own
    /// helper at times.
    fn answer(&mut self) -> Option<String> {
        let runs = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
        if !runs {
            self.child = Some(self.spawn());
        }
        self.docker(&["version"])
    }

    fn spawn(&self) -> Child {
        let inside = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(inside("log")).unwrap();
        let mut command = match &self.bridge {
            // A network namespace of its own: a daemon that is told to have no bridge removes the one that is there.
            None => Command::new("unshare"),
            Some(_) => Command::new("dockerd"),
        };
        match &self.bridge {
            None => command.args(["--net", "--", "dockerd", "--bridge", "none"]),
            Some(bridge) => command.args(["--bridge", bridge, "--ip-masq=false", "--live-restore"]),
        };
        for (flag, path) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(inside(path));
        }
        command
            .args(["--host", &self.address(), "--cgroup-parent", &self.cgroup, "--shutdown-timeout", "3"])
            .args(["--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command.spawn().expect("the package docker.io")
    }

    /// Ends it, and waits until it has.
    pub fn end(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    /// `kill -9`: its containers go on until it is started anew.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        until("the daemon's end", PATIENCE, || child.try_wait().unwrap());
    }

    /// What `docker` prints; none when it fails.
    pub fn docker(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("docker").env("DOCKER_HOST", self.address()).args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for OwnDaemon {
    fn drop(&mut self) {
        // After a failed test: the containers of a daemon that was killed go on without it.
        let end = Instant::now() + PATIENCE;
        while self.answer().is_none() && Instant::now() < end {}
        let left = self.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
        for container in left.lines() {
            self.docker(&["rm", "--force", "--volumes", container]);
        }
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
            let _ = child.wait();
        }
        // One that was killed leaves its helper, which the next one ends with itself.
        let helper = std::fs::read_to_string(self.folder.path().join("exec/containerd/containerd.pid"));
        if let Some(pid) = helper.ok().and_then(|text| text.trim().parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // What is still mounted would keep the folder.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let own = self.folder.path().to_str().unwrap();
        for path in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(own))
        {
            let _ = Command::new("umount").args(["--lazy", path]).status();
        }
        if let Some(bridge) = &self.bridge {
            for args in [["ip", "link", "set", bridge, "down"].as_slice(), &["brctl", "delbr", bridge]] {
                let _ = Command::new("busybox").args(args).output();
            }
        }
        let _ = std::fs::remove_dir(format!("/sys/fs/cgroup{}", self.cgroup));
    }
}
