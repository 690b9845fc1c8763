//! Runs that compete for the lock of a service. Every engine must pass these scenarios.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::deadline::until;
use super::deployer::{Deployer, Finished, Running};
use super::watched_run::WatchedRun;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A service, and what is needed to deploy it.
pub struct LockScenarios<'a> {
    pub deployer: &'a Deployer,
    /// The options that select the engine, such as `--engine docker`.
    pub engine: &'a [&'a str],
    pub service: &'a str,
    /// An existing image that contains `sleep`.
    pub image: &'a str,
}

impl LockScenarios<'_> {
    /// Returns the path of a file and a script line that waits for it, so that the test decides how long a run holds
    /// the lock.
    fn gate(&self, name: &str) -> (PathBuf, String) {
        let path = self.deployer.home().join(name);
        let wait = format!(
            "exec([\"sh\", \"-c\", \"until [ -e {} ]; do sleep 0.05; done\"], #{{timeout: \"60s\"}});",
            path.display()
        );
        (path, wait)
    }

    fn start(&self, script: &str, rest: &[&str]) -> Running {
        let args: Vec<&str> = ["run", script].iter().chain(self.engine).chain(rest).copied().collect();
        self.deployer.start(&args)
    }

    fn unlock(&self, flags: &[&str]) -> Finished {
        let args: Vec<&str> = ["unlock", self.service].iter().chain(self.engine).chain(flags).copied().collect();
        self.deployer.call(&args)
    }

    /// Starts two runs at once, twenty times. One gets the lock; the other exits with code 4 and names the holder.
    pub fn only_one_of_two_runs_gets_the_lock(&self) {
        for round in 0..20 {
            let (gate, wait) = self.gate(&format!("gate-{round}"));
            let script = self.deployer.file("competing.rhai", &format!("lock(\"{}\");\n{wait}\n", self.service));
            let mut runs = vec![self.start(&script, &[]), self.start(&script, &[])];
            let loser = until("the end of one run", TIMEOUT, || runs.iter_mut().position(|run| !run.is_running()));
            let lost = runs.remove(loser).wait();
            open(&gate);
            let won = runs.remove(0).wait();
            assert_eq!((won.code, lost.code), (0, 4), "round {round}\n{}\n{}", won.said(), lost.said());
            let lost = lost.says(&format!("`{}` is locked by run", self.service)).says("on host").says("since ");
            lost.says("--lock-wait 10m").says(&format!("deployer unlock {}", self.service));
        }
    }

    /// With `--lock-wait`, the second run starts after the first has ended. Ctrl-C stops the wait.
    pub fn a_waiting_run_starts_after_the_first(&self) {
        let (gate, wait) = self.gate("gate-wait");
        let script = self.deployer.file("competing.rhai", &format!("lock(\"{}\");\n{wait}\n", self.service));
        let start = |rest: &[&str]| {
            let args: Vec<&str> =
                ["run", &script, "--format", "json"].iter().chain(self.engine).chain(rest).copied().collect();
            WatchedRun::start(self.deployer.command(&args))
        };
        let mut first = start(&[]);
        first.until_intended("exec");
        let mut second = start(&["--lock-wait", "60s"]);
        let is_waiting = |event: &Value| event.to_string().contains("waiting for the lock of");
        let event = second.until("the wait", is_waiting).to_string();
        assert!(event.contains(&first.id()) && event.contains("since "), "{event}");
        let mut third = start(&["--lock-wait", "60s"]);
        third.until("the wait", is_waiting);
        let sent = Instant::now();
        third.signal(Signal::SIGINT);
        third.wait().code(130);
        assert!(sent.elapsed() < Duration::from_secs(20), "the wait stops at once");
        open(&gate);
        first.wait().ok();
        second.wait().ok();
    }

    /// Pauses a run, breaks its lock, and lets another run deploy. When the first run continues, it changes nothing more,
    /// and reports that it lost the lock. `snapshot` describes the containers of the service.
    pub fn a_paused_run_that_lost_its_lock_changes_nothing(&self, snapshot: impl Fn() -> String) {
        let Self { deployer, service, image, .. } = self;
        let (gate, wait) = self.gate("gate-pause");
        let create = |name: &str| {
            format!(
                "docker_run(#{{name: \"{service}-{name}\", image: \"{image}\", service: \"{service}\", command: [\"sleep\", \"600\"]}});\n"
            )
        };
        let text = format!("lock(\"{service}\");\n{}{wait}\n{}", create("old"), create("late"));
        let old = deployer.file("old.rhai", &text);
        let args: Vec<&str> = ["run", &old, "--format", "json"].iter().chain(self.engine).copied().collect();
        let mut paused = WatchedRun::start(deployer.command(&args));
        paused.until_intended("exec");
        paused.signal(Signal::SIGSTOP);
        let run = paused.id();

        self.unlock(&["--yes"]).code(4).says(&run).says("is still running").says("--force");
        self.unlock(&["--force"]).ok().says(&run).says("is unlocked");
        self.unlock(&["--yes"]).ok().says("is not locked");
        let text = format!(
            "lock(\"{service}\");\ndocker_remove(\"{service}-old\", #{{force: true, disposable: true}});\n{}{}",
            create("old"),
            create("new")
        );
        let new = deployer.file("new.rhai", &text);
        self.start(&new, &[]).wait().ok();

        let before = snapshot();
        open(&gate);
        paused.signal(Signal::SIGCONT);
        let end = paused.wait().code(3);
        assert!(end.said().contains("lost the lock of"), "{}", end.said());
        assert_eq!(snapshot(), before, "{}", end.said());
        // The lock is free for the next run.
        let clean_up = format!(
            "lock(\"{service}\");\nfor name in [\"old\", \"new\"] {{ docker_remove(\"{service}-\" + name, #{{force: true, disposable: true}}); }}"
        );
        self.start(&deployer.file("clean_up.rhai", &clean_up), &[]).wait().ok();
    }

    /// The next run takes over the lock of a killed run, and releases it.
    pub fn the_lock_of_a_killed_run_is_taken_over(&self) {
        let (_, wait) = self.gate("never");
        let script = self.deployer.file("killed.rhai", &format!("lock(\"{}\");\n{wait}\n", self.service));
        let args: Vec<&str> = ["run", &script, "--format", "json"].iter().chain(self.engine).copied().collect();
        let mut killed = WatchedRun::start(self.deployer.command(&args));
        killed.until_intended("exec");
        let run = killed.id();
        killed.kill();
        let quick = self.deployer.file("quick.rhai", &format!("print(lock(\"{}\").taken_over_from);", self.service));
        self.start(&quick, &[]).wait().ok().says(&run);
        self.unlock(&["--yes"]).ok().says("is not locked");
    }
}

fn open(gate: &Path) {
    std::fs::write(gate, "").unwrap();
}
