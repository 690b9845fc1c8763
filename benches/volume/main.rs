//! What a copy of a volume costs: `cargo bench --bench volume [-- MEGABYTES]`. Needs Docker and root.
//!
//! Against `docker run ... cp -a` and `cp -a --reflink=auto`, each on the same two volumes: one large file, and many
//! small ones; backup and check of a database against the sqlite3 program, told once what it is usually told and once to
//! check and count as deployer does. Rounds alternate between the sides. The last table is the memory of the whole
//! program at its peak.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

const IMAGE: &str = "deployer-volume-bench:1";
const ROUNDS: usize = 3;
const DATABASE_ROUNDS: usize = 5;
const SMALL_FILES: usize = 20_000;
const DEFAULT_MB: u64 = 2_048;
/// Runs a program and writes down the most memory that it had.
const MEASURE: &str = "import resource, subprocess, sys
ended = subprocess.run(sys.argv[2:])
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(ended.returncode)";
/// Rows of 1 kB of the database.
const ROWS: u32 = 200_000;

fn main() {
    let mb = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(DEFAULT_MB);
    build_image();
    let scene = Scene { prefix: format!("volume-bench-{}", std::process::id()), state: tempfile::tempdir().unwrap() };
    let large = scene.volume("large");
    let block: Vec<u8> = (0..1 << 20).map(|byte: u32| (byte.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut file = std::fs::File::create(large.join("file")).unwrap();
    (0..mb).for_each(|_| std::io::Write::write_all(&mut file, &block).unwrap());
    let small = scene.volume("small");
    for number in 0..SMALL_FILES {
        let folder = small.join(format!("{}", number / 1000));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number}")), &block[..4096]).unwrap();
    }
    sh("sync", &[]);
    println!("{:34}{:>14}{:>14}", "milliseconds, best of 3", format!("{mb} MB"), format!("{SMALL_FILES} files"));
    let mut best = [[u128::MAX; 2]; SIDES.len()];
    // The small ones first, all rounds of them: two gigabytes between two rounds take them out of the machine's cache,
    // and then it is the disk that is measured.
    for (column, source) in [(1, "small"), (0, "large")] {
        for _ in 0..ROUNDS {
            for ((_, side), best) in SIDES.iter().zip(best.iter_mut()) {
                // What others wrote is not this one's to wait for.
                sh("sync", &[]);
                let begin = Instant::now();
                side(&scene, source);
                best[column] = best[column].min(begin.elapsed().as_millis());
                scene.remove("copy");
            }
        }
    }
    for ((name, _), best) in SIDES.iter().zip(best) {
        println!("{name:34}{:>14}{:>14}", best[0], best[1]);
    }
    databases(&scene);
    println!("\n{:34}{:>14}", "peak memory, kB", format!("{mb} MB"));
    let (large, copy) = (scene.name("large"), scene.name("copy"));
    for options in ["", "verify: false", "way: \"engine\""] {
        let peak = scene.peak(&format!("volume_clone(\"{large}\", \"{copy}\", #{{{options}}})"));
        println!("{:34}{peak:>14}", format!("volume_clone {options}"));
        scene.remove("copy");
    }
    println!("{:34}{:>14}", "volume_snapshot", scene.peak(&format!("volume_snapshot(\"{large}\")")));
    scene.run(&format!("volume_prune(\"{large}\", #{{keep: 0}})"));
}

type Work<'a> = &'a dyn Fn();

/// Backup and quick_check of the same database by both programs, their starts included.
fn databases(scene: &Scene) {
    let path = scene.state.path().join("bench.db");
    let fill = format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO notes SELECT i, hex(randomblob(500)) FROM n;"
    );
    let (database, copy) = (path.to_str().unwrap(), scene.state.path().join("copy.db"));
    sh("sqlite3", &[database, &fill]);
    let sqlite = |statements: &[&str]| drop(sh("sqlite3", &[&["-bail", database], statements].concat()));
    let copied = copy.display();
    let (backup, check) = (format!(".backup '{copied}'"), "PRAGMA quick_check");
    let attach = format!("ATTACH 'file:{copied}?immutable=1' AS copy");
    let count = "SELECT count(*) FROM main.notes";
    let sides: [(&str, Work, Work); 3] = [
        ("deployer", &|| scene.run(&format!("sqlite_backup(\"{database}\", #{{to: \"file://{copied}\"}})")), &|| {
            scene.run(&format!("sqlite_check(\"{database}\")"))
        }),
        ("sqlite3", &|| sqlite(&[&backup]), &|| sqlite(&[check])),
        (
            "sqlite3, that checks and counts",
            &|| {
                sqlite(&[&backup, count, &attach, "PRAGMA copy.quick_check", "SELECT count(*) FROM copy.notes"]);
            },
            &|| sqlite(&[check, count]),
        ),
    ];
    println!("\n{:34}{:>14}{:>14}", "milliseconds, best of 5", "backup", "quick_check");
    let mut best = [[u128::MAX; 2]; 3];
    for _ in 0..DATABASE_ROUNDS {
        for ((_, backup, check), best) in sides.iter().zip(best.iter_mut()) {
            let _ = std::fs::remove_file(&copy);
            for (work, best) in [backup, check].into_iter().zip(best) {
                sh("sync", &[]);
                let begin = Instant::now();
                work();
                *best = (*best).min(begin.elapsed().as_millis());
            }
        }
    }
    for ((name, ..), best) in sides.iter().zip(best) {
        println!("{name:34}{:>14}{:>14}", best[0], best[1]);
    }
}

/// Copies the volume of that name into `copy`.
type Side = fn(&Scene, &str);

const SIDES: [(&str, Side); 6] = [
    ("volume_clone, verified", |scene, from| scene.clone_volume(from, "")),
    ("volume_clone, verify: false", |scene, from| scene.clone_volume(from, "verify: false")),
    ("volume_clone, through the engine", |scene, from| scene.clone_volume(from, "way: \"engine\"")),
    ("docker run ... cp -a", |scene, from| {
        let mount = |volume: &str, at: &str| format!("{}:{at}", scene.name(volume));
        let volumes = (mount(from, "/from:ro"), mount("copy", "/to"));
        sh(
            "docker",
            &["run", "--rm", "-v", &volumes.0, "-v", &volumes.1, IMAGE, "/busybox", "cp", "-a", "/from/.", "/to/"],
        );
    }),
    ("cp -a --reflink=auto", |scene, from| drop(cp(scene, from))),
    ("cp -a --reflink=auto; sync -f", |scene, from| {
        let to = cp(scene, from);
        sh("sync", &["-f", to.to_str().unwrap()]);
    }),
];

fn cp(scene: &Scene, from: &str) -> PathBuf {
    let to = scene.volume("copy");
    let source = scene.folder(from).join(".");
    sh("cp", &["-a", "--reflink=auto", source.to_str().unwrap(), to.to_str().unwrap()]);
    to
}

struct Scene {
    prefix: String,
    state: tempfile::TempDir,
}

impl Scene {
    fn name(&self, volume: &str) -> String {
        format!("{}-{volume}", self.prefix)
    }

    fn volume(&self, volume: &str) -> PathBuf {
        sh("docker", &["volume", "create", &self.name(volume)]);
        self.folder(volume)
    }

    fn folder(&self, volume: &str) -> PathBuf {
        sh("docker", &["volume", "inspect", "--format", "{{.Mountpoint}}", &self.name(volume)]).trim().into()
    }

    fn remove(&self, volume: &str) {
        sh("docker", &["volume", "rm", "--force", &self.name(volume)]);
    }

    fn clone_volume(&self, from: &str, options: &str) {
        self.run(&format!("volume_clone(\"{}\", \"{}\", #{{{options}}})", self.name(from), self.name("copy")));
    }

    /// Runs the program with this line.
    fn run(&self, line: &str) {
        self.under(&[], line);
    }

    /// Runs the program with this line; returns the most memory that it had, in kB.
    fn peak(&self, line: &str) -> u64 {
        let peak = self.state.path().join("peak");
        self.under(&["python3", "-c", MEASURE, peak.to_str().unwrap()], line);
        std::fs::read_to_string(peak).unwrap().trim().parse().unwrap()
    }

    fn under(&self, wrapper: &[&str], line: &str) {
        let (script, state) = (self.state.path().join("line.rhai"), self.state.path().join("state"));
        std::fs::write(&script, line).unwrap();
        let own = [deployer(), "run", script.to_str().unwrap(), "--state", state.to_str().unwrap()];
        let words = [wrapper, &own].concat();
        sh(words[0], &words[1..]);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        ["large", "small", "copy"].into_iter().for_each(|volume| self.remove(volume));
        let _ = Command::new("docker").args(["rmi", IMAGE]).output();
    }
}

fn deployer() -> &'static str {
    env!("CARGO_BIN_EXE_deployer")
}

fn build_image() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy("/bin/busybox", folder.path().join("busybox")).expect("busybox-static is installed");
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCOPY busybox /busybox\n").unwrap();
    sh("docker", &["build", "--quiet", "--tag", IMAGE, folder.path().to_str().unwrap()]);
}

fn sh(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
