//! Kills deploys at one journal entry after another, and then resumes or aborts them.

use super::apps;
use super::deployer::Deployer;
use super::http;
use super::logo_app::LogoApp;
use super::manual_app::ManualApp;
use super::steady_client::SteadyClient;
use super::watched_run::WatchedRun;

/// An app that is deployed in one version after another.
pub trait DeployedApp {
    fn deployer(&self) -> &Deployer;
    fn script(&self) -> &'static str;
    fn port(&self) -> u16;
    fn health(&self) -> &'static str;
    /// Prepares a version for its deploy, and returns the arguments for `deployer run SCRIPT`.
    fn prepare(&mut self, version: &str) -> Vec<String>;
    /// Whether requests may fail after the old container was stopped.
    fn may_fail(&self) -> bool {
        true
    }
    /// Asserts that the container of the service is the only one, and that it has this version.
    fn serves_alone(&self, version: &str);
}

impl DeployedApp for ManualApp {
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
        let image = apps::manual_image(&self.docker, version);
        vec!["--config".into(), self.deployer.file("deploy.toml", &self.config(&image))]
    }

    fn may_fail(&self) -> bool {
        !self.tables.contains("[traffic]")
    }

    fn serves_alone(&self, version: &str) {
        ManualApp::serves_alone(self, version);
    }
}

impl DeployedApp for LogoApp {
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
        LogoApp::serves_alone(self, version);
    }
}

/// How the sweep recovers a killed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    Resume,
    Abort,
}

fn start(app: &dyn DeployedApp, args: &[String], crash_at: Option<&str>) -> WatchedRun {
    let mut all = vec!["run", app.script(), "--format", "json"];
    all.extend(args.iter().map(String::as_str));
    WatchedRun::start(match crash_at {
        Some(at) => app.deployer().crashing_command(&all, at),
        None => app.deployer().command(&all),
    })
}

/// Deploys a version without faults, and returns the number of its journal entries.
pub fn count_entries(app: &mut dyn DeployedApp, version: &str) -> u64 {
    let args = app.prepare(version);
    let finished = start(app, &args, None).wait().code(0);
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64();
    finished.stdout.lines().filter_map(number).max().unwrap()
}

/// Returns every crash point with `DEPLOYER_SWEEP=all`, otherwise `sample` of them, evenly spread.
pub fn crash_points(entries: u64, sample: u64) -> Vec<String> {
    let step = if std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all") { 1 } else { entries / sample };
    let numbers = (2..entries).step_by(usize::try_from(step.max(1)).unwrap());
    // Alternates, so that the sweep crashes both before and after the effect of an entry.
    numbers.enumerate().map(|(i, n)| format!("{}:{n}", if i % 2 == 0 { "after" } else { "before" })).collect()
}

/// Kills deploys at these crash points and recovers each. Returns the number of killed deploys.
pub fn sweep(app: &mut dyn DeployedApp, recovery: Recovery, points: &[String], first: u32) -> usize {
    let mut live = format!("v{first}");
    let mut killed = 0;
    for (number, point) in (first + 1..).zip(points) {
        let next = format!("v{number}");
        let args = app.prepare(&next);
        println!("{recovery:?} at {point}");
        let client = SteadyClient::start(app.port(), app.health(), 20);
        let mut run = start(app, &args, Some(point));
        if !run.until_stopped() {
            run.wait().code(0);
            live = next;
            continue;
        }
        let events = run.kill().stdout;
        killed += 1;
        let seen = |what: &str| events.contains(what);
        if !seen("\"kind\":\"docker_stop\"") && !seen("\"kind\":\"docker_kill\"") {
            let report = client.report();
            assert_eq!(report.failed, 0, "{point}: before the old container was stopped: {:?}", report.failures);
        }
        let committed = match recovery {
            Recovery::Resume => {
                app.deployer().call(&["resume"]).ok();
                true
            }
            Recovery::Abort => {
                let aborted = app.deployer().call(&["abort"]);
                // From the journal, because a run killed right after an entry has not printed it.
                let committed = app.deployer().latest_run().iter().any(|record| record["entry"] == "committed");
                aborted.code(i32::from(committed));
                committed
            }
        };
        let report = client.finish();
        assert!(app.may_fail() || report.failed == 0, "{recovery:?} at {point}: {:?}", report.failures);
        let expected = if committed { &next } else { &live };
        let answer = super::until("a response", || http::get(app.port(), app.health()).ok());
        assert_eq!(answer.version, *expected, "{recovery:?} at {point}");
        // The next deploy removes what an abort leaves after the commit.
        if recovery == Recovery::Abort && committed {
            start(app, &args, None).wait().code(0);
        }
        app.serves_alone(expected);
        live = expected.clone();
    }
    killed
}
