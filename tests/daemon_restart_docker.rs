//! A Docker daemon that goes away in the middle of a deploy and comes back: a daemon of the test's own, without
//! networks, so that nobody else notices.

mod support;

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::deadline::until;
use support::deployer::{Deployer, Finished};
use support::watched_run::WatchedRun;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE: &str = "app:v1";

struct Daemon {
    folder: TempDir,
    cgroup: String,
    child: Option<Child>,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Its folder's name is its own alone.
        let name = folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let cgroup = format!("/deployer-restart-{name}");
        let mut daemon = Self { folder, cgroup, child: None };
        daemon.begin();
        let context = daemon.folder.path().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::copy("/bin/busybox", context.join("busybox")).expect("the package busybox-static");
        let text = "FROM scratch\nCOPY busybox /bin/sleep\nCMD [\"/bin/sleep\", \"600\"]\n";
        std::fs::write(context.join("Dockerfile"), text).unwrap();
        daemon.docker(&["build", "--quiet", "--tag", IMAGE, context.to_str().unwrap()]).unwrap();
        daemon
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    fn begin(&mut self) {
        let inside = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(inside("log")).unwrap();
        // A network namespace of its own: a daemon that is told to have no bridge removes the one that is there.
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "dockerd"]);
        for (flag, path) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(inside(path));
        }
        command
            .args(["--host", &self.address(), "--cgroup-parent", &self.cgroup, "--shutdown-timeout", "3"])
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().expect("the package docker.io"));
        until("the daemon's answer", PATIENCE, || self.docker(&["version"]));
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        until("the daemon's end", PATIENCE, || child.try_wait().unwrap());
    }

    /// What `docker` prints; none when it fails.
    fn docker(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("docker").env("DOCKER_HOST", self.address()).args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn containers(&self) -> String {
        self.docker(&["ps", "--all", "--format", "{{.Names}} {{.State}}"]).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let left = self.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
        for container in left.lines() {
            self.docker(&["rm", "--force", "--volumes", container]);
        }
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
            let _ = child.wait();
        }
        // What is still mounted would keep the folder.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let own = self.folder.path().to_str().unwrap();
        for path in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(own))
        {
            let _ = Command::new("umount").args(["--lazy", path]).status();
        }
        let _ = std::fs::remove_dir(format!("/sys/fs/cgroup{}", self.cgroup));
    }
}

fn deploy_of(gate: &str) -> String {
    format!(
        r#"
lock("web");
docker_run(#{{name: "web-green", image: "{IMAGE}", service: "web", role: "candidate"}});
exec(["sh", "-c", "until [ -e {gate} ]; do sleep 0.05; done"], #{{timeout: "60s"}});
if docker_inspect("web-green").state != "running" {{ fail("green died"); }}
docker_stop("web", #{{grace: "1s"}});
docker_rename("web", "web-old");
docker_rename("web-green", "web");
docker_remove("web-old", #{{disposable: true}});
"#
    )
}

/// Deploys over a running service; `meanwhile` happens to the daemon while green runs.
fn deploy(daemon: &mut Daemon, meanwhile: impl Fn(&mut Daemon, &dyn Fn())) -> Finished {
    let deployer = Deployer::docker();
    let address = daemon.address();
    let first = format!(
        "lock(\"web\"); docker_run(#{{name: \"web\", image: \"{IMAGE}\", service: \"web\", restart: \"unless-stopped\"}});"
    );
    let engine = ["--docker-host", address.as_str()];
    deployer.run(&deployer.file("first.rhai", &first), &engine).ok();
    let gate = deployer.home().join("gate");
    let script = deployer.file("deploy.rhai", &deploy_of(gate.to_str().unwrap()));
    let mut args = vec!["run", &script, "--format", "json"];
    args.extend(engine);
    let mut run = WatchedRun::start(deployer.command(&args));
    run.until_intended("exec");
    meanwhile(daemon, &|| std::fs::write(&gate, "").unwrap());
    let end = run.wait();
    assert!(matches!(end.code, 0 | 1), "{} {}", end.code, end.said());
    until("one service", PATIENCE, || (daemon.containers() == "web running").then_some(()));
    assert_eq!(daemon.docker(&["volume", "ls", "--quiet"]).unwrap(), "", "no lock is left");
    end
}

#[test]
fn a_daemon_that_was_started_anew_is_found_again() {
    let mut daemon = Daemon::start();
    deploy(&mut daemon, |daemon, go_on| {
        daemon.end();
        daemon.begin();
        go_on();
    });
}

#[test]
fn a_run_is_taken_back_once_the_daemon_answers_again() {
    let mut daemon = Daemon::start();
    let end = deploy(&mut daemon, |daemon, go_on| {
        daemon.end();
        go_on();
        daemon.begin();
    });
    assert_eq!(end.code, 1, "{}", end.said());
}
