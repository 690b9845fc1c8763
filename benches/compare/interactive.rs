//! Interactive latency on a host with many containers: the time to the first prompt and to names after Tab. Compared
//! with the docker program, which also asks its engine for completions.

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
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for names until Tab is pressed again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The query for the position of the cursor, and the answer of a terminal.
const CURSOR: (&[u8], &[u8]) = (b"\x1b[6n", b"\x1b[1;1R");

/// A program in a terminal created by `script`.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Receiver<Vec<u8>>,
    screen: Vec<u8>,
}

impl Terminal {
    fn open(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
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

    /// The screen as text, without escape sequences.
    fn read(&self) -> String {
        console::strip_ansi_codes(&String::from_utf8_lossy(&self.screen)).into_owned()
    }

    /// Waits until the program has written this text.
    fn until(&mut self, expected: &str) {
        assert!(self.writes(expected, TIMEOUT), "never `{expected}` in {:?}", self.read());
    }

    /// Returns whether the program writes this text in time.
    fn writes(&mut self, expected: &str, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        while !self.read().contains(expected) {
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

fn in_terminal(deployer: &Deployer, line: &str) -> Terminal {
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

fn prints(mut command: Command, expected: &str) -> Duration {
    timed(|| {
        let output = command.output().expect("it starts");
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{command:?}: {output:?}");
    })
}

/// Creates containers without starting them. Each is a separate service. Returns the prefix of their names.
fn create_containers(docker: &Docker) -> String {
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
    let prefix = create_containers(&docker);
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
        rows[0].1.push(timed(|| in_terminal(&deployer, "python3").until(">>> ")));
        let begin = Instant::now();
        let mut session = in_terminal(&deployer, &repl);
        session.until("docker> ");
        rows[1].1.push(begin.elapsed());
        // The session loads the names in the background. Once they are loaded, Tab needs no request to the engine.
        let begin = Instant::now();
        loop {
            session.type_in(format!("docker_logs(\"{typed}\t").as_bytes());
            let known = session.writes(&last, RETRY_AFTER);
            session.type_in(b"\x03");
            session.until("docker> ");
            if known {
                break;
            }
            assert!(begin.elapsed() < TIMEOUT, "no names for {TIMEOUT:?}");
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
    let mut table = Table::new(&format!("interactive, {CONTAINERS} containers"), &["median", "slowest"]);
    for (name, mut times) in rows {
        times.sort();
        table.row(name, &[median(&times), percentile(&times, 100)].map(|time| format!("{time:.1?}")));
    }
    table.print();
}
