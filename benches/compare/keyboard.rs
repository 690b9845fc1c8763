//! What a person at the keyboard waits for, on a host with many containers: the first prompt, and names after Tab;
//! against the docker program, which completes by asking its engine too.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::deployer::Deployer;
use crate::support::docker::Docker;
use crate::table::{Table, median, percentile};

const CONTAINERS: usize = 500;
const ROUNDS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);
/// How long Tab may take until it is pressed again.
const TRY: Duration = Duration::from_secs(2);
/// What a terminal answers to the question where its cursor is, and the question.
const CURSOR: (&[u8], &[u8]) = (b"\x1b[6n", b"\x1b[1;1R");

/// A program at a terminal that `script` makes.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Receiver<Vec<u8>>,
    screen: Vec<u8>,
}

impl Terminal {
    fn open(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it");
        let (keys, mut out) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = out.read(&mut bytes)
                && read > 0
                && sender.send(bytes[..read].to_vec()).is_ok()
            {}
        });
        Self { child, keys, shown, screen: Vec::new() }
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.screen.clear();
        self.keys.write_all(keys).and_then(|()| self.keys.flush()).expect("a program that reads");
    }

    /// What a person reads, without colours and moves of the cursor.
    fn read(&self) -> String {
        console::strip_ansi_codes(&String::from_utf8_lossy(&self.screen)).into_owned()
    }

    /// Until the program has written this.
    fn until(&mut self, wanted: &str) {
        assert!(self.writes(wanted, PATIENCE), "never `{wanted}` in {:?}", self.read());
    }

    /// Whether the program writes this in time.
    fn writes(&mut self, wanted: &str, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while !self.read().contains(wanted) {
            match self.shown.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    if bytes.windows(CURSOR.0.len()).any(|part| part == CURSOR.0) {
                        self.keys.write_all(CURSOR.1).and_then(|()| self.keys.flush()).expect("it reads");
                    }
                    self.screen.extend(bytes);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.keys.write_all(b"\x03\x04"));
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn at_a_terminal(deployer: &Deployer, line: &str) -> Terminal {
    let mut command = Command::new("script");
    command.args(["-qfc", line, "/dev/null"]).current_dir(deployer.home());
    command.env("TERM", "xterm").env("HOME", deployer.home()).env("DEPLOYER_STATE", deployer.state());
    Terminal::open(command)
}

fn timed(body: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    body();
    begin.elapsed()
}

fn prints(mut command: Command, wanted: &str) -> Duration {
    timed(|| {
        let output = command.output().expect("it starts");
        assert!(String::from_utf8_lossy(&output.stdout).contains(wanted), "{command:?}: {output:?}");
    })
}

/// Containers that were made and never started, of an image of nothing; each is a service of its own.
fn crowd(docker: &Docker) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCMD [\"/none\"]\n").expect("a file");
    let image = docker.build(folder.path(), "crowd", "v1");
    for n in 0..CONTAINERS {
        let name = docker.name(&format!("c{n:03}"));
        docker.cli(&["create", "--name", &name, "--label", &format!("deployer.service={name}"), &image]);
    }
    docker.name("c")
}

pub fn table() {
    let (docker, deployer) = (Docker::new(), Deployer::docker());
    let prefix = crowd(&docker);
    let (typed, last) = (format!("{prefix}49"), format!("{prefix}499"));
    let binary = Path::new(env!("CARGO_BIN_EXE_deployer"));
    let repl = format!("{} repl", binary.display());
    let mut rows: [(&str, Vec<Duration>); 5] = [
        ("`python3`: first prompt", Vec::new()),
        ("`deployer repl`: first prompt", Vec::new()),
        ("`deployer repl`: names after Tab", Vec::new()),
        ("`docker logs` in a shell: names after Tab", Vec::new()),
        ("`deployer logs` in a shell: names after Tab", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        rows[0].1.push(timed(|| at_a_terminal(&deployer, "python3").until(">>> ")));
        let begin = Instant::now();
        let mut session = at_a_terminal(&deployer, &repl);
        session.until("docker> ");
        rows[1].1.push(begin.elapsed());
        // The names are asked for beside the prompt: once they are there, Tab is a matter of the terminal alone.
        let begin = Instant::now();
        loop {
            session.type_in(format!("docker_logs(\"{typed}\t").as_bytes());
            let known = session.writes(&last, TRY);
            session.type_in(b"\x03");
            session.until("docker> ");
            if known {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "no names for {PATIENCE:?}");
        }
        session.type_in(format!("docker_logs(\"{typed}").as_bytes());
        session.until(&typed);
        rows[2].1.push(timed(|| {
            session.type_in(b"\t");
            session.until(&last);
        }));
        drop(session);
        let mut asked = Command::new("docker");
        asked.args(["__complete", "logs", &typed]);
        rows[3].1.push(prints(asked, &last));
        let mut asked = deployer.command(&["--", "deployer", "logs", &typed]);
        asked.envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "2"), ("_CLAP_COMPLETE_COMP_TYPE", "9")]);
        asked.envs([("_CLAP_COMPLETE_SPACE", "true"), ("_CLAP_IFS", "\n")]);
        rows[4].1.push(prints(asked, &last));
    }
    let mut table = Table::new(&format!("at the keyboard, {CONTAINERS} containers"), &["median", "slowest"]);
    for (name, mut times) in rows {
        times.sort();
        table.row(name, &[median(&times), percentile(&times, 100)].map(|time| format!("{time:.1?}")));
    }
    table.print();
}
