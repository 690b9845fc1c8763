//! Data through deploys on real Docker, in every mode, while an app writes 200 rows a second: whatever is killed, and
//! whenever, every row that was acknowledged is there exactly once in the database that serves at the end. A sample of
//! kills; a hundred of them, in about half an hour: `DEPLOYER_SWEEP=all cargo test --test e2e_data_docker`.

mod support;

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::apps;
use support::deployer::Finished;
use support::docker::Docker;
use support::scene::Scene;
use support::watched_run::WatchedRun;
use support::writer::{Writer, assert_kept};

const ROWS_PER_SECOND: u32 = 200;
const MODES: [&str; 3] = ["shared", "clone", "hold"];
/// Kills in each mode.
const FEW: u32 = 4;
const ALL: u32 = 34;
const SUCCEEDED: i32 = 0;
const TAKEN_BACK: i32 = 1;

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
        let scene = Scene::with_v1();
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
    let output = Command::new("docker").args(["inspect", "--format", "{{.State.Pid}}", &docker.name(name)]).output();
    let text = String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned();
    let pid: i32 = text.parse().unwrap_or(0);
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

fn kills(mode: &'static str) {
    let all = std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all");
    let mut bench = Bench::new(mode);
    let events = bench.deploy().len() as u64;
    let mut killed = 0;
    for round in 0..if all { ALL } else { FEW } {
        let victim = VICTIMS[chance(VICTIMS.len() as u64) as usize];
        let at = 2 + chance(events - 2);
        let what = format!("{mode}, round {round}: {victim:?} at event {at} of {events}");
        eprintln!("{what}");
        let (version, args) = bench.next();
        let writer = Writer::start(bench.scene.port, ROWS_PER_SECOND);
        let mut run = bench.start(&args);
        let going = (0..at).all(|_| run.next().is_some());
        if !going {
            run.wait();
            bench.live = version;
            bench.settle(writer, &what);
            continue;
        }
        let finished = match victim {
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
        };
        if is_stuck(&bench, &finished, &what) {
            // The new version serves on with every row; this bench ends here.
            bench.live = version;
            bench.settle(writer, &what);
            bench = Bench::new(mode);
            continue;
        }
        let answer = bench.scene.get("/health");
        assert!([&bench.live, &version].contains(&&answer.version), "{what}: {answer:?} {finished:?}");
        bench.live = answer.version;
        bench.settle(writer, &what);
    }
    assert!(killed > 0, "nothing was killed");
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
