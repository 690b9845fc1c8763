//! A private Docker daemon, which a test can stop, kill and restart without disturbing other tests.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::deadline::until;

const TIMEOUT: Duration = Duration::from_secs(120);

pub struct PrivateDaemon {
    folder: TempDir,
    cgroup: String,
    /// The bridge of its containers. Without one, the daemon has no networks.
    bridge: Option<String>,
    child: Option<Child>,
}

impl PrivateDaemon {
    pub fn without_networks() -> Self {
        Self::new(None)
    }

    /// Starts a daemon whose containers publish ports on this machine, through its own bridge and without firewall
    /// rules. The containers survive a kill of the daemon (`--live-restore`): otherwise Docker 20.10 does not restart
    /// those with the policy `unless-stopped`.
    pub fn with_bridge() -> Self {
        let number = std::process::id();
        let bridge = format!("dtd{number}");
        let run = |args: &[&str]| {
            let output = Command::new("busybox").args(args).output().expect("the package busybox-static");
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["brctl", "addbr", &bridge]);
        // From the block for network tests (RFC 2544), different for each process.
        let address = format!("198.18.{}.1/24", number % 250);
        run(&["ip", "addr", "add", &address, "dev", &bridge]);
        run(&["ip", "link", "set", &bridge, "up"]);
        Self::new(Some(bridge))
    }

    fn new(bridge: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The name of the temporary folder is unique.
        let name = folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let mut daemon = Self { folder, cgroup: format!("/deployer-own-{name}"), bridge, child: None };
        daemon.start();
        daemon
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// Starts the daemon, and waits until it answers.
    pub fn start(&mut self) {
        until("the daemon's answer", TIMEOUT, || self.ensure_running());
    }

    /// Asks the daemon for its version. Starts it if it does not run, as a service manager would: on a busy machine the
    /// daemon sometimes exits because its containerd is not ready in time.
    fn ensure_running(&mut self) -> Option<String> {
        let is_running = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
        if !is_running {
            self.child = Some(self.spawn());
        }
        self.docker(&["version"])
    }

    fn spawn(&self) -> Child {
        let inside = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(inside("log")).unwrap();
        let mut command = match &self.bridge {
            // In its own network namespace, because a daemon with `--bridge none` removes the existing bridge.
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

    /// Stops the daemon, and waits until it has exited.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills the daemon with SIGKILL. Its containers continue to run.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        until("the daemon's end", TIMEOUT, || child.try_wait().unwrap());
    }

    /// Runs `docker` against this daemon and returns its output, or `None` if it fails.
    pub fn docker(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("docker").env("DOCKER_HOST", self.address()).args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for PrivateDaemon {
    fn drop(&mut self) {
        // After a failed test, the containers of a killed daemon may still run: start it to remove them.
        let end = Instant::now() + TIMEOUT;
        while self.ensure_running().is_none() && Instant::now() < end {}
        let left = self.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
        for container in left.lines() {
            self.docker(&["rm", "--force", "--volumes", container]);
        }
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
            let _ = child.wait();
        }
        // A killed daemon leaves its containerd running. The next daemon stops it at its own end.
        let containerd = std::fs::read_to_string(self.folder.path().join("exec/containerd/containerd.pid"));
        if let Some(pid) = containerd.ok().and_then(|text| text.trim().parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Mounts would prevent the removal of the folder.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let folder = self.folder.path().to_str().unwrap();
        for path in
            mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(folder))
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
