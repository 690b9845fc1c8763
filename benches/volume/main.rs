//! The cost of copying a volume: `cargo bench --bench volume [-- MEGABYTES]`. Needs Docker and root.
//!
//! Compares deployer with `docker run ... cp -a` and `cp -a --reflink=auto` on two volumes: one large file, and many
//! small files. Compares backup and check of a database with the sqlite3 program, with its usual commands and with
//! commands that check and count as deployer does. Rounds alternate between the sides. The last table is the peak
//! memory of the program.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

const IMAGE: &str = "deployer-volume-bench:1";
const ROUNDS: usize = 3;
const DATABASE_ROUNDS: usize = 5;
const SMALL_FILES: usize = 20_000;
const DEFAULT_MB: u64 = 2_048;
/// Runs a program and writes its peak memory to a file.
const MEASURE: &str = "import resource, subprocess, sys
ended = subprocess.run(sys.argv[2:])
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(ended.returncode)";
/// Rows of the database, 1 kB each.
const ROWS: u32 = 200_000;

fn main() {
    let mb = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(DEFAULT_MB);
    build_image();
    let bench =
        VolumeBench { prefix: format!("volume-bench-{}", std::process::id()), state: tempfile::tempdir().unwrap() };
    let large = bench.volume("large");
    let block: Vec<u8> = (0..1 << 20).map(|byte: u32| (byte.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut file = std::fs::File::create(large.join("file")).unwrap();
    (0..mb).for_each(|_| std::io::Write::write_all(&mut file, &block).unwrap());
    let small = bench.volume("small");
    for number in 0..SMALL_FILES {
        let folder = small.join(format!("{}", number / 1000));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number}")), &block[..4096]).unwrap();
    }
    sh("sync", &[]);
    println!("{:34}{:>14}{:>14}", "milliseconds, best of 3", format!("{mb} MB"), format!("{SMALL_FILES} files"));
    let mut best = [[u128::MAX; 2]; SIDES.len()];
    // First all rounds with the small files: copying the large file between two rounds would evict them from the page
    // cache, and the disk would be measured instead.
    for (column, source) in [(1, "small"), (0, "large")] {
        for _ in 0..ROUNDS {
            for ((_, side), best) in SIDES.iter().zip(best.iter_mut()) {
                // Pending writes of the others must not slow this one down.
                sh("sync", &[]);
                let begin = Instant::now();
                side(&bench, source);
                best[column] = best[column].min(begin.elapsed().as_millis());
                bench.remove("copy");
            }
        }
    }
    for ((name, _), best) in SIDES.iter().zip(best) {
        println!("{name:34}{:>14}{:>14}", best[0], best[1]);
    }
    databases(&bench);
    println!("\n{:34}{:>14}", "peak memory, kB", format!("{mb} MB"));
    let (large, copy) = (bench.name("large"), bench.name("copy"));
    for options in ["", "verify: false", "way: \"engine\""] {
        let peak = bench.peak(&format!("volume_clone(\"{large}\", \"{copy}\", #{{{options}}})"));
        println!("{:34}{peak:>14}", format!("volume_clone {options}"));
        bench.remove("copy");
    }
    println!("{:34}{:>14}", "volume_snapshot", bench.peak(&format!("volume_snapshot(\"{large}\")")));
    bench.run(&format!("volume_prune(\"{large}\", #{{keep: 0}})"));
}

type Work<'a> = &'a dyn Fn();

/// Measures backup and quick_check of the same database with both programs, including their start.
fn databases(bench: &VolumeBench) {
    let path = bench.state.path().join("bench.db");
    let fill = format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO notes SELECT i, hex(randomblob(500)) FROM n;"
    );
    let (database, copy) = (path.to_str().unwrap(), bench.state.path().join("copy.db"));
    sh("sqlite3", &[database, &fill]);
    let sqlite = |statements: &[&str]| drop(sh("sqlite3", &[&["-bail", database], statements].concat()));
    let copied = copy.display();
    let (backup, check) = (format!(".backup '{copied}'"), "PRAGMA quick_check");
    let attach = format!("ATTACH 'file:{copied}?immutable=1' AS copy");
    let count = "SELECT count(*) FROM main.notes";
    let sides: [(&str, Work, Work); 3] = [
        ("deployer", &|| bench.run(&format!("sqlite_backup(\"{database}\", #{{to: \"file://{copied}\"}})")), &|| {
            bench.run(&format!("sqlite_check(\"{database}\")"))
        }),
        ("sqlite3", &|| sqlite(&[&backup]), &|| sqlite(&[check])),
        (
            "sqlite3, with check and count",
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

/// Copies a volume into the volume `copy`.
type Side = fn(&VolumeBench, &str);

const SIDES: [(&str, Side); 6] = [
    ("volume_clone, verified", |bench, from| bench.clone_volume(from, "")),
    ("volume_clone, verify: false", |bench, from| bench.clone_volume(from, "verify: false")),
    ("volume_clone, through the engine", |bench, from| bench.clone_volume(from, "way: \"engine\"")),
    ("docker run ... cp -a", |bench, from| {
        let mount = |volume: &str, at: &str| format!("{}:{at}", bench.name(volume));
        let volumes = (mount(from, "/from:ro"), mount("copy", "/to"));
        sh(
            "docker",
            &["run", "--rm", "-v", &volumes.0, "-v", &volumes.1, IMAGE, "/busybox", "cp", "-a", "/from/.", "/to/"],
        );
    }),
    ("cp -a --reflink=auto", |bench, from| drop(cp(bench, from))),
    ("cp -a --reflink=auto; sync -f", |bench, from| {
        let to = cp(bench, from);
        sh("sync", &["-f", to.to_str().unwrap()]);
    }),
];

fn cp(bench: &VolumeBench, from: &str) -> PathBuf {
    let to = bench.volume("copy");
    let source = bench.folder(from).join(".");
    sh("cp", &["-a", "--reflink=auto", source.to_str().unwrap(), to.to_str().unwrap()]);
    to
}

struct VolumeBench {
    prefix: String,
    state: tempfile::TempDir,
}

impl VolumeBench {
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

    /// Runs a script of this one line.
    fn run(&self, line: &str) {
        self.run_under(&[], line);
    }

    /// Runs a script of this one line; returns the peak memory in kB.
    fn peak(&self, line: &str) -> u64 {
        let peak = self.state.path().join("peak");
        self.run_under(&["python3", "-c", MEASURE, peak.to_str().unwrap()], line);
        std::fs::read_to_string(peak).unwrap().trim().parse().unwrap()
    }

    fn run_under(&self, wrapper: &[&str], line: &str) {
        let (script, state) = (self.state.path().join("line.rhai"), self.state.path().join("state"));
        std::fs::write(&script, line).unwrap();
        let command = [deployer(), "run", script.to_str().unwrap(), "--state", state.to_str().unwrap()];
        let words = [wrapper, &command].concat();
        sh(words[0], &words[1..]);
    }
}

impl Drop for VolumeBench {
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
