//! What a copy of a volume costs: `cargo bench --bench volume [-- MEGABYTES]`. Needs Docker and root.
//!
//! Against `docker run ... cp -a` and `cp -a --reflink=auto`, each on the same two volumes: one large file, and many
//! small ones; backup and check of a database against the sqlite3 program. Rounds alternate between the sides. The last
//! table is the memory of the whole program at its peak.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const IMAGE: &str = "deployer-volume-bench:1";
const ROUNDS: usize = 3;
const SMALL_FILES: usize = 20_000;
const DEFAULT_MB: u64 = 2_048;
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
    let mut peaks = Vec::new();
    for (name, side) in SIDES {
        let mut best = [u128::MAX; 2];
        for _ in 0..ROUNDS {
            for (best, source) in best.iter_mut().zip(["large", "small"]) {
                let begin = Instant::now();
                let peak = side(&scene, source);
                *best = (*best).min(begin.elapsed().as_millis());
                if let Some(peak) = peak.filter(|_| source == "large") {
                    peaks.push((name, peak));
                }
                scene.remove("copy");
            }
        }
        println!("{name:34}{:>14}{:>14}", best[0], best[1]);
    }
    let name = scene.name("large");
    peaks.push(("volume_snapshot", scene.run(&format!("volume_snapshot(\"{name}\")"))));
    scene.run(&format!("volume_prune(\"{name}\", #{{keep: 0}})"));
    databases(&scene);
    println!("\n{:34}{:>14}", "peak memory, kB", format!("{mb} MB"));
    peaks.sort();
    for pair in peaks.chunk_by(|one, other| one.0 == other.0) {
        // The largest of a name is its last.
        println!("{:34}{:>14}", pair[0].0, pair[pair.len() - 1].1);
    }
}

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
    let backup = format!("sqlite_backup(\"{database}\", #{{to: \"file://{}\"}})", copy.display());
    let check = format!("sqlite_check(\"{database}\")");
    let theirs = format!(".backup '{}'", copy.display());
    println!("\n{:34}{:>14}{:>14}", "milliseconds, best of 3", "backup", "quick_check");
    let mut best = [[u128::MAX; 2]; 2];
    for _ in 0..ROUNDS {
        for (ours, way) in [true, false].into_iter().zip(best.iter_mut()) {
            let _ = std::fs::remove_file(&copy);
            let begin = Instant::now();
            if ours {
                scene.run(&backup);
            } else {
                sh("sqlite3", &[database, &theirs]);
            }
            way[0] = way[0].min(begin.elapsed().as_millis());
            let begin = Instant::now();
            if ours {
                scene.run(&check);
            } else {
                sh("sqlite3", &[database, "PRAGMA quick_check"]);
            }
            way[1] = way[1].min(begin.elapsed().as_millis());
        }
    }
    for (name, best) in ["deployer, copy checked", "sqlite3"].into_iter().zip(best) {
        println!("{name:34}{:>14}{:>14}", best[0], best[1]);
    }
}

/// Copies the volume of that name into `copy`; the peak of its memory where that is deployer's.
type Side = fn(&Scene, &str) -> Option<u64>;

const SIDES: [(&str, Side); 6] = [
    ("volume_clone, verified", |scene, from| Some(scene.deployer(from, ""))),
    ("volume_clone, verify: false", |scene, from| Some(scene.deployer(from, "verify: false"))),
    ("volume_clone, through the engine", |scene, from| Some(scene.deployer(from, "way: \"engine\""))),
    ("docker run ... cp -a", |scene, from| {
        let mount = |volume: &str, at: &str| format!("{}:{at}", scene.name(volume));
        let volumes = (mount(from, "/from:ro"), mount("copy", "/to"));
        sh(
            "docker",
            &["run", "--rm", "-v", &volumes.0, "-v", &volumes.1, IMAGE, "/busybox", "cp", "-a", "/from/.", "/to/"],
        );
        None
    }),
    ("cp -a --reflink=auto", |scene, from| {
        cp(scene, from);
        None
    }),
    ("cp -a --reflink=auto; sync -f", |scene, from| {
        let to = cp(scene, from);
        sh("sync", &["-f", to.to_str().unwrap()]);
        None
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

    /// Clones the volume of that name; returns the most memory that the program had, in kB.
    fn deployer(&self, from: &str, options: &str) -> u64 {
        self.run(&format!("volume_clone(\"{}\", \"{}\", #{{{options}}})", self.name(from), self.name("copy")))
    }

    /// Runs the program with this line; returns the most memory that it had, in kB.
    fn run(&self, line: &str) -> u64 {
        let script = self.state.path().join("line.rhai");
        std::fs::write(&script, line).unwrap();
        let peak = self.state.path().join("peak");
        let output = Command::new("python3")
            .args(["-c", "import os,sys,resource,subprocess\nr=subprocess.run(sys.argv[2:])\nopen(sys.argv[1],'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\nsys.exit(r.returncode)"])
            .arg(&peak)
            .arg(deployer())
            .arg("run")
            .arg(&script)
            .arg("--state")
            .arg(self.state.path().join("state"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(peak).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        ["large", "small", "copy"].into_iter().for_each(|volume| self.remove(volume));
        let _ = Command::new("docker").args(["rmi", IMAGE]).output();
    }
}

fn deployer() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_deployer"))
}

fn build_image() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy("/bin/busybox", folder.path().join("busybox")).expect("busybox-static is installed");
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCOPY busybox /busybox\n").unwrap();
    sh("docker", &["build", "--quiet", "--tag", IMAGE, folder.path().to_str().unwrap()]);
}

fn sh(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
