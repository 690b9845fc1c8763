//! Runs that want the same service at the same time: what must hold on every engine, as steps for the tests of each.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::deadline::until;
use super::deployer::{Deployer, Finished, Running};

const PATIENCE: Duration = Duration::from_secs(60);

/// One service and what is needed to deploy it.
pub struct Rivals<'a> {
    pub deployer: &'a Deployer,
    /// `--engine` and what else leads there.
    pub engine: &'a [&'a str],
    pub service: &'a str,
    /// An image that is there, and has `sleep`.
    pub image: &'a str,
}

impl Rivals<'_> {
    /// A file that a script waits for: it holds the lock as long as the test wants.
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

    /// Twenty times two at once: one runs, the other ends with code 4 and says who is in its way.
    pub fn one_of_two_runs(&self) {
        for round in 0..20 {
            let (gate, wait) = self.gate(&format!("gate-{round}"));
            let script = self.deployer.file("rival.rhai", &format!("lock(\"{}\");\n{wait}\n", self.service));
            let mut two = vec![self.start(&script, &[]), self.start(&script, &[])];
            let loser = until("the end of one of two", PATIENCE, || two.iter_mut().position(|run| !run.is_running()));
            let lost = two.remove(loser).wait();
            open(&gate);
            let won = two.remove(0).wait();
            assert_eq!((won.code, lost.code), (0, 4), "round {round}\n{}\n{}", won.said(), lost.said());
            let lost = lost.says(&format!("`{}` is locked by run", self.service)).says("on host").says("since ");
            lost.says("--lock-wait 10m").says(&format!("deployer unlock {}", self.service));
        }
    }

    /// With `--lock-wait` the second one runs after the first one; Ctrl-C ends a wait.
    pub fn who_waits_runs_after(&self) {
        let (gate, wait) = self.gate("gate-wait");
        let script = self.deployer.file("rival.rhai", &format!("lock(\"{}\");\n{wait}\n", self.service));
        let begin = |rest: &[&str]| {
            let args: Vec<&str> =
                ["run", &script, "--format", "json"].iter().chain(self.engine).chain(rest).copied().collect();
            super::watched_run::WatchedRun::start(self.deployer.command(&args))
        };
        let mut first = begin(&[]);
        first.until_intended("exec");
        let mut second = begin(&["--lock-wait", "60s"]);
        let waits = |event: &Value| event.to_string().contains("waiting for the lock of");
        let told = second.until("the wait", waits).to_string();
        assert!(told.contains(&first.id()) && told.contains("since "), "{told}");
        let mut third = begin(&["--lock-wait", "60s"]);
        third.until("the wait", waits);
        let begun = Instant::now();
        third.signal(Signal::SIGINT);
        third.wait().code(130);
        assert!(begun.elapsed() < Duration::from_secs(20), "a wait ends at once");
        open(&gate);
        first.wait().ok();
        second.wait().ok();
    }

    /// A run is paused, its lock taken away, another run deploys: when it goes on, it changes nothing any more, and its
    /// end says so.
    pub fn a_paused_run_changes_nothing(&self, looks: impl Fn() -> String) {
        let Self { deployer, service, image, .. } = self;
        let (gate, wait) = self.gate("gate-pause");
        let make = |name: &str| {
            format!(
                "docker_run(#{{name: \"{service}-{name}\", image: \"{image}\", service: \"{service}\", command: [\"sleep\", \"600\"]}});\n"
            )
        };
        let text = format!("lock(\"{service}\");\n{}{wait}\n{}", make("old"), make("late"));
        let old = deployer.file("old.rhai", &text);
        let args: Vec<&str> = ["run", &old, "--format", "json"].iter().chain(self.engine).copied().collect();
        let mut paused = super::watched_run::WatchedRun::start(deployer.command(&args));
        paused.until_intended("exec");
        paused.signal(Signal::SIGSTOP);
        let run = paused.id();

        self.unlock(&["--yes"]).code(4).says(&run).says("is under way").says("--force");
        self.unlock(&["--force"]).ok().says(&run).says("is unlocked");
        self.unlock(&["--yes"]).ok().says("is not locked");
        let text = format!(
            "lock(\"{service}\");\ndocker_remove(\"{service}-old\", #{{force: true, disposable: true}});\n{}{}",
            make("old"),
            make("new")
        );
        let new = deployer.file("new.rhai", &text);
        self.start(&new, &[]).wait().ok();

        let before = looks();
        open(&gate);
        paused.signal(Signal::SIGCONT);
        let end = paused.wait().code(3);
        assert!(end.said().contains("lost the lock of"), "{}", end.said());
        assert_eq!(looks(), before, "{}", end.said());
        // The next one is in nobody's way.
        let sweep = format!(
            "lock(\"{service}\");\nfor name in [\"old\", \"new\"] {{ docker_remove(\"{service}-\" + name, #{{force: true, disposable: true}}); }}"
        );
        self.start(&deployer.file("sweep.rhai", &sweep), &[]).wait().ok();
    }

    /// A killed run's lock is taken over by itself, and `abort` takes a killed run back and lets go.
    pub fn the_dead_are_in_nobodys_way(&self) {
        let (_, wait) = self.gate("never");
        let script = self.deployer.file("killed.rhai", &format!("lock(\"{}\");\n{wait}\n", self.service));
        let args: Vec<&str> = ["run", &script, "--format", "json"].iter().chain(self.engine).copied().collect();
        let mut killed = super::watched_run::WatchedRun::start(self.deployer.command(&args));
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
