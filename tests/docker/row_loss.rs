//! Data in deploys on real Docker, in every mode, while an app writes 200 rows per second. Deployer, a container or the
//! Docker daemon is killed at a random moment. At the end, every acknowledged row must be exactly once in the live
//! database. The suite runs a sample of kills; this command runs a hundred of them in about half an hour:
//! `DEPLOYER_SWEEP=all cargo test --test docker row_loss`.

use crate::support;

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::deployer::Finished;
use support::docker::Docker;
use support::manual_app::ManualApp;
use support::private_daemon::PrivateDaemon;
use support::watched_run::WatchedRun;
use support::writer::{Writer, assert_has_rows, titles_on_volumes};
use support::{apps, http};

const ROWS_PER_SECOND: u32 = 200;
const MODES: [&str; 3] = ["shared", "clone", "hold"];
/// Kills in each mode: in the sample, and in the full sweep.
const SAMPLE: u32 = 3;
const ALL: u32 = 23;
/// Kills of the daemon in all modes together: in the sample, and in the full sweep.
const DAEMON_SAMPLE: u32 = 3;
const DAEMON_ALL: u32 = 31;
/// The number of events of the shortest deploy.
const EVENTS: u64 = 115;
const SUCCEEDED: i32 = 0;
const ROLLED_BACK: i32 = 1;
const STUCK: i32 = 3;

/// An app that is deployed again and again, and the rows that it acknowledged.
struct Bench {
    app: ManualApp,
    mode: &'static str,
    /// All rows acknowledged so far.
    acknowledged: Vec<String>,
    generation: u32,
    /// The live version.
    live: String,
}

impl Bench {
    fn new(mode: &'static str) -> Self {
        Self::on(mode, Docker::new())
    }

    fn on(mode: &'static str, docker: Docker) -> Self {
        let app = ManualApp::with_v1_on(docker);
        // Deployer does not create these folders, because a missing folder could be a disk that is not mounted.
        for folder in ["backups", "logs"] {
            std::fs::create_dir(app.deployer.home().join(folder)).unwrap();
        }
        Self { app, mode, acknowledged: Vec::new(), generation: 1, live: "v1".into() }
    }

    /// Prepares the next deploy, and returns its version and arguments. Except in the mode "shared", its migration drops the
    /// column that the previous one added.
    fn prepare_next(&mut self) -> (String, Vec<String>) {
        self.generation += 1;
        let Self { mode, generation, .. } = self;
        let drop = if *mode == "shared" { "False" } else { "row[1].startswith('gen_')" };
        self.app.tables = format!(
            r#"
mode = "{mode}"
backup = "file://{home}/backups"
keep = 2
migrate = ["python3", "-c", '''
import os, sqlite3
database = sqlite3.connect(os.environ["DATABASE_PATH"], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
for row in database.execute("PRAGMA table_info(manuals)").fetchall():
    if {drop}:
        database.execute("ALTER TABLE manuals DROP COLUMN " + row[1])
database.execute("ALTER TABLE manuals ADD COLUMN gen_{generation} TEXT NOT NULL DEFAULT 'new'")
database.execute("COMMIT")
''']

[archive]
logs = "file://{home}/logs"
"#,
            home = self.app.deployer.home().display(),
        );
        let version = format!("v{generation}");
        let image = apps::manual_image(&self.app.docker, &version);
        let config = self.app.deployer.file("deploy.toml", &self.app.config(&image));
        (version, vec!["--config".into(), config])
    }

    fn database(&self) -> PathBuf {
        let mountpoint = self.app.docker.inspect(&self.app.volume)["Mountpoint"].as_str().unwrap().to_owned();
        PathBuf::from(mountpoint).join("manual_generator.db")
    }

    fn start(&self, args: &[String]) -> WatchedRun {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.app.deployer.watch_run("bluegreen.rhai", &args)
    }

    /// Stops the writer, and asserts that the live version serves and that its database has all acknowledged rows.
    #[track_caller]
    fn assert_no_row_lost(&mut self, writer: Writer, what: &str) {
        self.app.get("/health");
        self.acknowledged.extend(writer.finish().acknowledged);
        assert_has_rows(&self.database(), &self.acknowledged, what);
        let answer = self.app.get("/health");
        assert_eq!((answer.status, &answer.version), (200, &self.live), "{what}");
    }

    /// Runs the commands that a stuck run left, in order. Asserts that the previous version serves afterwards, and that
    /// every row is in the live database or in a copy that was kept.
    fn run_remaining_commands(&mut self, previous: &str, what: &str) {
        let end = self.app.deployer.latest_run().pop().unwrap();
        let remaining = end["end"]["remaining"].as_array().unwrap_or_else(|| panic!("{what}: {end}")).clone();
        let commands: Vec<&str> = remaining.iter().filter_map(|step| step["command"].as_str()).collect();
        assert!(!commands.is_empty(), "{what}: {remaining:?}");
        for command in commands {
            let mut shell = Command::new("sh");
            let deployer = self.app.deployer.command(&[]);
            shell.env_clear().envs(deployer.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let program = PathBuf::from(env!("CARGO_BIN_EXE_deployer"));
            let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
            let output = shell.env("PATH", path).args(["-c", command]).output().unwrap();
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{what}: {command}: {stdout}{stderr}");
        }
        let answer = self.app.get("/health");
        assert_eq!((answer.status, answer.version.as_str()), (200, previous), "{what}");
        let titles = titles_on_volumes(self.database().parent().unwrap(), &self.app.volume);
        let lost: Vec<_> = self.acknowledged.iter().filter(|title| !titles.contains(*title)).collect();
        assert!(lost.is_empty(), "{what}: {} rows are lost: {:?}", lost.len(), lost.first());
    }

    /// Deploys without faults, and returns the events.
    fn deploy(&mut self) -> Vec<String> {
        let (version, args) = self.prepare_next();
        let writer = Writer::start(self.app.port, ROWS_PER_SECOND);
        let finished = self.start(&args).wait().code(SUCCEEDED);
        self.live = version;
        self.assert_no_row_lost(writer, "a deploy");
        finished.stdout.lines().map(str::to_owned).collect()
    }
}

/// Kills the main process of a container, as a crash would. Returns false if the container does not run.
fn crash(docker: &Docker, name: &str) -> bool {
    let text = docker.try_cli(&["inspect", "--format", "{{.State.Pid}}", &docker.name(name)]);
    let pid: i32 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    pid > 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

/// Returns a random number below `limit`.
fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % limit.max(1)
}

/// What is killed, and how the run is recovered.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// Deployer; the run is resumed.
    Resumed,
    /// Deployer; the run is aborted.
    Aborted,
    Container(&'static str),
}

const VICTIMS: [Victim; 7] = [
    Victim::Resumed,
    Victim::Aborted,
    Victim::Container("manual"),
    Victim::Resumed,
    Victim::Container("manual-migrate"),
    Victim::Aborted,
    Victim::Container("manual-next"),
];

fn is_all() -> bool {
    std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all")
}

fn kill_at_random_events(mode: &'static str) {
    let mut bench = Bench::new(mode);
    let events = bench.deploy().len() as u64;
    let mut killed = 0;
    for round in 0..if is_all() { ALL } else { SAMPLE } {
        let victim = VICTIMS[random_below(VICTIMS.len() as u64) as usize];
        let at = 2 + random_below(events - 2);
        let what = format!("{mode}, round {round}: {victim:?} at event {at} of {events}");
        let is_stuck = deploy_with_fault(&mut bench, at, &what, |bench, run| match victim {
            Victim::Container(name) => {
                killed += u32::from(crash(&bench.app.docker, name));
                run.wait()
            }
            Victim::Resumed | Victim::Aborted => {
                killed += 1;
                let killed_run = run.kill();
                let command = if matches!(victim, Victim::Resumed) { "resume" } else { "abort" };
                recover(&bench.app, command, &killed_run)
            }
        });
        if is_stuck {
            bench = Bench::new(mode);
        }
    }
    assert!(killed > 0, "nothing was killed");
}

/// Deploys, and calls `inject` at this event. Returns whether the run ended stuck. The bench cannot be used after that.
fn deploy_with_fault(
    bench: &mut Bench,
    at: u64,
    what: &str,
    inject: impl FnOnce(&mut Bench, WatchedRun) -> Finished,
) -> bool {
    eprintln!("{what}");
    let (version, args) = bench.prepare_next();
    let writer = Writer::start(bench.app.port, ROWS_PER_SECOND);
    let mut run = bench.start(&args);
    let is_running = (0..at).all(|_| run.next().is_some());
    if !is_running {
        run.wait();
        bench.live = version;
        bench.assert_no_row_lost(writer, what);
        return false;
    }
    let finished = inject(bench, run);
    if is_stuck(bench, &finished, what) {
        // The new version continues to serve, with every row.
        let previous = std::mem::replace(&mut bench.live, version);
        bench.assert_no_row_lost(writer, what);
        bench.run_remaining_commands(&previous, what);
        return true;
    }
    let answer = bench.app.get("/health");
    assert!([&bench.live, &version].contains(&&answer.version), "{what}: {answer:?} {finished:?}");
    bench.live = answer.version;
    bench.assert_no_row_lost(writer, &format!("{what}: {finished:?}"));
    false
}

/// Resumes or aborts a killed run, unless it had ended before the kill.
fn recover(app: &ManualApp, command: &str, killed_run: &Finished) -> Finished {
    let has_ended = killed_run.stdout.contains("\"entry\":\"run_ended\"");
    if has_ended { killed_run.clone() } else { app.deployer.call(&[command]) }
}

/// Returns whether the run ended stuck. Asserts that a stuck run names the copy of the data.
fn is_stuck(bench: &Bench, finished: &Finished, what: &str) -> bool {
    let text = format!("{}{}", finished.stdout, finished.stderr);
    let stuck = text.contains("rows were written since the cutover");
    if !stuck {
        let is_expected = [SUCCEEDED, ROLLED_BACK].contains(&finished.code) || finished.code == -1;
        assert!(is_expected, "{what}: {finished:?}");
    } else {
        let copy = if bench.mode == "clone" { ".before-" } else { "/backups/" };
        assert!(text.contains(copy), "{what}: no copy is named: {text}");
    }
    stuck
}

#[test]
fn no_row_is_lost_in_the_mode_shared() {
    kill_at_random_events(MODES[0]);
}

#[test]
fn no_row_is_lost_in_the_mode_clone() {
    kill_at_random_events(MODES[1]);
}

#[test]
fn no_row_is_lost_in_the_mode_hold() {
    kill_at_random_events(MODES[2]);
}

#[test]
fn no_row_is_lost_when_the_daemon_is_killed() {
    let mut daemon = PrivateDaemon::with_bridge();
    let rounds = if is_all() { DAEMON_ALL } else { DAEMON_SAMPLE };
    for (mode, rounds) in MODES.into_iter().zip([rounds.div_ceil(3), (rounds + 1) / 3, rounds / 3]) {
        let mut bench = Bench::on(mode, Docker::at(daemon.address()));
        for round in 0..rounds {
            let at = 2 + random_below(EVENTS - 2);
            let what = format!("{mode}, round {round}: the daemon at event {at}");
            let is_stuck = deploy_with_fault(&mut bench, at, &what, |_, run| {
                daemon.kill();
                daemon.start();
                run.wait()
            });
            if is_stuck {
                bench = Bench::on(mode, Docker::at(daemon.address()));
            }
        }
    }
}

#[test]
fn the_remaining_commands_of_a_stuck_run_lose_no_row() {
    let mut bench = Bench::new("clone");
    for mode in ["clone", "hold"] {
        bench.mode = mode;
        let (version, mut args) = bench.prepare_next();
        args.extend(["--set".into(), "bake=60s".into()]);
        let mut run = bench.start(&args);
        run.until("the watch", |event| event["title"] == "Watch the public port");
        let title = format!("after the cutover, {mode}");
        let row = format!("{{\"title\": \"{title}\"}}");
        support::until("a row", || http::post(bench.app.port, "/api/manuals", &row).ok().filter(|a| a.status == 201));
        bench.acknowledged.push(title);
        bench.app.docker.cli(&["stop", "--time", "1", &bench.app.docker.name("manual-next")]);
        let finished = run.wait().code(STUCK);
        assert!(is_stuck(&bench, &finished, mode));
        let previous = std::mem::replace(&mut bench.live, version);
        assert_eq!(bench.app.get("/health").version, bench.live, "the new version continues to serve");
        assert_has_rows(&bench.database(), &bench.acknowledged, mode);
        bench.run_remaining_commands(&previous, mode);
        bench.live = previous;
        bench.acknowledged.clear();
    }
}
