//! Data through deploys on real Docker, in every mode, while an app writes 200 rows a second: whatever is killed, and
//! whenever - deployer, a container, the Docker daemon -, every row that was acknowledged is there exactly once in the
//! database that serves at the end. A sample of kills; a hundred of them, in about half an hour:
//! `DEPLOYER_SWEEP=all cargo test --test e2e_data_docker`.

mod support;

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::deployer::Finished;
use support::docker::Docker;
use support::own_daemon::OwnDaemon;
use support::scene::Scene;
use support::watched_run::WatchedRun;
use support::writer::{Writer, assert_kept, kept_titles};
use support::{apps, http};

const ROWS_PER_SECOND: u32 = 200;
const MODES: [&str; 3] = ["shared", "clone", "hold"];
/// Kills in each mode.
const FEW: u32 = 3;
const ALL: u32 = 23;
/// Kills of the daemon, over all modes.
const FEW_OF_DAEMON: u32 = 3;
const ALL_OF_DAEMON: u32 = 31;
/// As many as the shortest deploy has.
const EVENTS: u64 = 115;
const SUCCEEDED: i32 = 0;
const TAKEN_BACK: i32 = 1;
const STUCK: i32 = 3;

struct Bench {
    scene: Scene,
    mode: &'static str,
    /// Every row that was ever acknowledged.
    acknowledged: Vec<String>,
    generation: u32,
    /// The version that serves.
    live: String,
}

impl Bench {
    fn new(mode: &'static str) -> Self {
        Self::on(mode, Docker::new())
    }

    fn on(mode: &'static str, docker: Docker) -> Self {
        let scene = Scene::with_v1_on(docker);
        // A folder that is missing could be a disk that is not mounted: deployer makes none.
        for folder in ["backups", "logs"] {
            std::fs::create_dir(scene.deployer.home().join(folder)).unwrap();
        }
        Self { scene, mode, acknowledged: Vec::new(), generation: 1, live: "v1".into() }
    }

    /// The arguments of the next deploy, and its version. Its migration takes the column of the one before away, but in
    /// the mode "shared".
    fn next(&mut self) -> (String, Vec<String>) {
        self.generation += 1;
        let Self { mode, generation, .. } = self;
        let drop = if *mode == "shared" { "False" } else { "row[1].startswith('gen_')" };
        self.scene.tables = format!(
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
            home = self.scene.deployer.home().display(),
        );
        let version = format!("v{generation}");
        let image = apps::manual(&self.scene.docker, &version);
        let config = self.scene.deployer.file("deploy.toml", &self.scene.config(&image));
        (version, vec!["--config".into(), config])
    }

    fn database(&self) -> PathBuf {
        let mountpoint = self.scene.docker.inspect(&self.scene.volume)["Mountpoint"].as_str().unwrap().to_owned();
        PathBuf::from(mountpoint).join("manual_generator.db")
    }

    fn start(&self, args: &[String]) -> WatchedRun {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.scene.deployer.watch_run("bluegreen.rhai", &args)
    }

    #[track_caller]
    fn settle(&mut self, writer: Writer, what: &str) {
        self.scene.get("/health");
        self.acknowledged.extend(writer.finish().acknowledged);
        assert_kept(&self.database(), &self.acknowledged, what);
        let answer = self.scene.get("/health");
        assert_eq!((answer.status, &answer.version), (200, &self.live), "{what}");
    }

    /// Types the commands that a stuck run left, in their order. The version before serves then, and every row is
    /// somewhere: in the database that serves, or in what is kept beside it.
    fn type_commands(&mut self, before: &str, what: &str) {
        let end = self.scene.deployer.latest_run().pop().unwrap();
        let left = end["end"]["remaining"].as_array().unwrap_or_else(|| panic!("{what}: {end}")).clone();
        let commands: Vec<&str> = left.iter().filter_map(|left| left["command"].as_str()).collect();
        assert!(!commands.is_empty(), "{what}: {left:?}");
        for command in commands {
            let mut shell = Command::new("sh");
            let deployer = self.scene.deployer.command(&[]);
            shell.env_clear().envs(deployer.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let program = PathBuf::from(env!("CARGO_BIN_EXE_deployer"));
            let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
            let done = shell.env("PATH", path).args(["-c", command]).output().unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{what}: {command}: {said}");
        }
        let answer = self.scene.get("/health");
        assert_eq!((answer.status, answer.version.as_str()), (200, before), "{what}");
        let kept = kept_titles(self.database().parent().unwrap(), &self.scene.volume);
        let lost: Vec<_> = self.acknowledged.iter().filter(|title| !kept.contains(*title)).collect();
        assert!(lost.is_empty(), "{what}: {} rows are nowhere: {:?}", lost.len(), lost.first());
    }

    /// A deploy that nothing happens to; returns its events.
    fn deploy(&mut self) -> Vec<String> {
        let (version, args) = self.next();
        let writer = Writer::start(self.scene.port, ROWS_PER_SECOND);
        let finished = self.start(&args).wait().code(SUCCEEDED);
        self.live = version;
        self.settle(writer, "a deploy");
        finished.stdout.lines().map(str::to_owned).collect()
    }
}

/// Kills the main process of a container, as a crash would; false when it has none.
fn crash(docker: &Docker, name: &str) -> bool {
    let text = docker.try_cli(&["inspect", "--format", "{{.State.Pid}}", &docker.name(name)]);
    let pid: i32 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    pid > 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

/// A number that differs from test run to test run, below `limit`.
fn chance(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % limit.max(1)
}

/// What is killed.
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

fn kills(mode: &'static str) {
    let mut bench = Bench::new(mode);
    let events = bench.deploy().len() as u64;
    let mut killed = 0;
    for round in 0..if is_all() { ALL } else { FEW } {
        let victim = VICTIMS[chance(VICTIMS.len() as u64) as usize];
        let at = 2 + chance(events - 2);
        let what = format!("{mode}, round {round}: {victim:?} at event {at} of {events}");
        let is_stuck = strike(&mut bench, at, &what, |bench, run| match victim {
            Victim::Container(name) => {
                killed += u32::from(crash(&bench.scene.docker, name));
                run.wait()
            }
            Victim::Resumed | Victim::Aborted => {
                killed += 1;
                let seen = run.kill();
                let again = if matches!(victim, Victim::Resumed) { "resume" } else { "abort" };
                go_on(&bench.scene, again, &seen)
            }
        });
        if is_stuck {
            bench = Bench::new(mode);
        }
    }
    assert!(killed > 0, "nothing was killed");
}

/// Deploys, and lets `happen` at this event; whether the run ended stuck: that is a bench's last.
fn strike(bench: &mut Bench, at: u64, what: &str, happen: impl FnOnce(&mut Bench, WatchedRun) -> Finished) -> bool {
    eprintln!("{what}");
    let (version, args) = bench.next();
    let writer = Writer::start(bench.scene.port, ROWS_PER_SECOND);
    let mut run = bench.start(&args);
    let going = (0..at).all(|_| run.next().is_some());
    if !going {
        run.wait();
        bench.live = version;
        bench.settle(writer, what);
        return false;
    }
    let finished = happen(bench, run);
    if is_stuck(bench, &finished, what) {
        // The new version serves on with every row.
        let before = std::mem::replace(&mut bench.live, version);
        bench.settle(writer, what);
        bench.type_commands(&before, what);
        return true;
    }
    let answer = bench.scene.get("/health");
    assert!([&bench.live, &version].contains(&&answer.version), "{what}: {answer:?} {finished:?}");
    bench.live = answer.version;
    bench.settle(writer, &format!("{what}: {finished:?}"));
    false
}

/// Takes a killed run to its end.
fn go_on(scene: &Scene, how: &str, seen: &Finished) -> Finished {
    let has_ended = seen.stdout.contains("\"entry\":\"run_ended\"");
    if has_ended { seen.clone() } else { scene.deployer.call(&[how]) }
}

/// Whether the run ended stuck: then it must have named the copy.
fn is_stuck(bench: &Bench, finished: &Finished, what: &str) -> bool {
    let text = format!("{}{}", finished.stdout, finished.stderr);
    let stuck = text.contains("rows were written since the cutover");
    if !stuck {
        let ended = [SUCCEEDED, TAKEN_BACK].contains(&finished.code) || finished.code == -1;
        assert!(ended, "{what}: {finished:?}");
    } else {
        let copy = if bench.mode == "clone" { ".before-" } else { "/backups/" };
        assert!(text.contains(copy), "{what}: no copy is named: {text}");
    }
    stuck
}

#[test]
fn no_row_is_lost_in_the_mode_shared() {
    kills(MODES[0]);
}

#[test]
fn no_row_is_lost_in_the_mode_clone() {
    kills(MODES[1]);
}

#[test]
fn no_row_is_lost_in_the_mode_hold() {
    kills(MODES[2]);
}

#[test]
fn no_row_is_lost_when_the_daemon_is_killed() {
    let mut daemon = OwnDaemon::with_bridge();
    let rounds = if is_all() { ALL_OF_DAEMON } else { FEW_OF_DAEMON };
    for (mode, rounds) in MODES.into_iter().zip([rounds.div_ceil(3), (rounds + 1) / 3, rounds / 3]) {
        let mut bench = Bench::on(mode, Docker::at(daemon.address()));
        for round in 0..rounds {
            let at = 2 + chance(EVENTS - 2);
            let what = format!("{mode}, round {round}: the daemon at event {at}");
            let is_stuck = strike(&mut bench, at, &what, |_, run| {
                daemon.kill();
                daemon.begin();
                run.wait()
            });
            if is_stuck {
                bench = Bench::on(mode, Docker::at(daemon.address()));
            }
        }
    }
}

#[test]
fn what_a_stuck_run_leaves_to_type_loses_no_row() {
    let mut bench = Bench::new("clone");
    for mode in ["clone", "hold"] {
        bench.mode = mode;
        let (version, mut args) = bench.next();
        args.extend(["--set".into(), "bake=60s".into()]);
        let mut run = bench.start(&args);
        run.until("the watch", |event| event["title"] == "Watch the public port");
        let title = format!("after the cutover, {mode}");
        let row = format!("{{\"title\": \"{title}\"}}");
        support::until("a row", || http::post(bench.scene.port, "/api/manuals", &row).ok().filter(|a| a.status == 201));
        bench.acknowledged.push(title);
        bench.scene.docker.cli(&["stop", "--time", "1", &bench.scene.docker.name("manual-next")]);
        let finished = run.wait().code(STUCK);
        assert!(is_stuck(&bench, &finished, mode));
        let before = std::mem::replace(&mut bench.live, version);
        assert_eq!(bench.scene.get("/health").version, bench.live, "the new version serves on");
        assert_kept(&bench.database(), &bench.acknowledged, mode);
        bench.type_commands(&before, mode);
        bench.live = before;
        bench.acknowledged.clear();
    }
}
