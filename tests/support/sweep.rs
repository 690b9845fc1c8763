//! Deploys that are killed at one exact entry of their journal after another, and then resumed or aborted.

use super::apps;
use super::deployer::Deployer;
use super::http;
use super::logo::Logo;
use super::scene::Scene;
use super::visitor::Visitor;
use super::watched_run::WatchedRun;

/// Something that is deployed in version after version.
pub trait Subject {
    fn deployer(&self) -> &Deployer;
    fn script(&self) -> &'static str;
    fn port(&self) -> u16;
    fn health(&self) -> &'static str;
    /// Makes the version ready to be deployed; returns the arguments of `deployer run SCRIPT`.
    fn prepare(&mut self, version: &str) -> Vec<String>;
    /// Whether a visitor may see failures once the old one is stopped.
    fn may_fail(&self) -> bool {
        true
    }
    /// Asserts that the service's container is the only one, and of this version.
    fn serves_alone(&self, version: &str);
}

impl Subject for Scene {
    fn deployer(&self) -> &Deployer {
        &self.deployer
    }

    fn script(&self) -> &'static str {
        "bluegreen.rhai"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn health(&self) -> &'static str {
        "/health"
    }

    fn prepare(&mut self, version: &str) -> Vec<String> {
        let image = apps::manual(&self.docker, version);
        vec!["--config".into(), self.deployer.file("deploy.toml", &self.config(&image))]
    }

    fn may_fail(&self) -> bool {
        !self.tables.contains("[traffic]")
    }

    fn serves_alone(&self, version: &str) {
        Scene::serves_alone(self, version);
    }
}

impl Subject for Logo {
    fn deployer(&self) -> &Deployer {
        &self.deployer
    }

    fn script(&self) -> &'static str {
        "safe_deploy.rhai"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn health(&self) -> &'static str {
        "/api/v1/health"
    }

    fn prepare(&mut self, version: &str) -> Vec<String> {
        self.release(version);
        self.args(&[])
    }

    fn serves_alone(&self, version: &str) {
        Logo::serves_alone(self, version);
    }
}

/// What is done with a killed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Resume,
    Abort,
}

fn start(subject: &dyn Subject, args: &[String], halt_at: Option<&str>) -> WatchedRun {
    let mut all = vec!["run", subject.script(), "--format", "json"];
    all.extend(args.iter().map(String::as_str));
    let mut command = subject.deployer().command(&all);
    command.envs(halt_at.map(|at| ("DEPLOYER_HALT_AT_ENTRY", at)));
    WatchedRun::start(command)
}

/// Entries of a deploy that nothing happens to.
pub fn entries(subject: &mut dyn Subject, version: &str) -> u64 {
    let args = subject.prepare(version);
    let finished = start(subject, &args, None).wait().code(0);
    let numbered = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64();
    finished.stdout.lines().filter_map(numbered).max().unwrap()
}

/// Every point when `DEPLOYER_SWEEP=all`, else `few` of them, evenly spread.
pub fn points(entries: u64, few: u64) -> Vec<String> {
    let step = if std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all") { 1 } else { entries / few };
    let every = (2..entries).step_by(usize::try_from(step.max(1)).unwrap());
    // Neighbours differ in whether the effect that the entry tells of has happened.
    every.enumerate().map(|(i, n)| format!("{}:{n}", if i % 2 == 0 { "after" } else { "before" })).collect()
}

/// Kills deploys at these points and goes on with each; returns how many there were.
pub fn sweep(subject: &mut dyn Subject, way: Way, points: &[String], first: u32) -> usize {
    let mut live = format!("v{first}");
    let mut killed = 0;
    for (number, point) in (first + 1..).zip(points) {
        let next = format!("v{number}");
        let args = subject.prepare(&next);
        println!("{way:?} at {point}");
        let visitor = Visitor::start(subject.port(), subject.health(), 20);
        let mut run = start(subject, &args, Some(point));
        if !run.until_stopped() {
            run.wait().code(0);
            live = next;
            continue;
        }
        let events = run.kill().stdout;
        killed += 1;
        let seen = |what: &str| events.contains(what);
        if !seen("\"kind\":\"docker_stop\"") && !seen("\"kind\":\"docker_kill\"") {
            let visit = visitor.look();
            assert_eq!(visit.failed, 0, "{point}: before the old one was stopped: {:?}", visit.failures);
        }
        let committed = match way {
            Way::Resume => {
                subject.deployer().call(&["resume"]).ok();
                true
            }
            Way::Abort => {
                subject.deployer().call(&["abort"]).ok();
                // From the journal: who is killed right after an entry has not told of it.
                subject.deployer().latest_run().iter().any(|record| record["entry"] == "committed")
            }
        };
        let visit = visitor.finish();
        assert!(subject.may_fail() || visit.failed == 0, "{way:?} at {point}: {:?}", visit.failures);
        let expected = if committed { &next } else { &live };
        let answer = super::until("an answer", || http::get(subject.port(), subject.health()).ok());
        assert_eq!(answer.version, *expected, "{way:?} at {point}");
        // What an abort leaves after the point of no return goes with the next deploy.
        if way == Way::Abort && committed {
            start(subject, &args, None).wait().code(0);
        }
        subject.serves_alone(expected);
        live = expected.clone();
    }
    killed
}
