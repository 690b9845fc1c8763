//! Event streams to draw in tests, with times that are always the same.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{DisplayOptions, Format, Output, Reporter, reporter};
use crate::base::run_id::RunId;
use crate::base::site::Site;
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{
    Entry, EntryAccess, EntryRecovery, Intent, Level, Process, Record, Remaining, RunEnd, RunEvent, RunHeader,
    RunStatus, UndoRecord,
};

/// 2026-03-01 12:00 UTC.
pub const START_MS: i64 = 1_772_366_400_000;

pub fn run() -> RunId {
    "0123456789".parse().unwrap()
}

pub fn header() -> RunHeader {
    RunHeader {
        script: "bluegreen.rhai".into(),
        digest: "sha256:0a1b".into(),
        params: json!({"service": "web"}),
        engine: "docker".into(),
        address: "unix:///var/run/docker.sock".into(),
        engine_id: String::new(),
        engine_flags: String::new(),
        state_flags: String::new(),
        version: "0.1.0".into(),
        working_dir: "/srv/web".into(),
        process: Process {
            host: "box".into(),
            pid: 4242,
            boot_id: "b00t".into(),
            pid_namespace: "4026531836".into(),
            process_start: 17,
        },
    }
}

pub fn end(status: RunStatus) -> RunEnd {
    RunEnd {
        status,
        exit_code: status.exit_code(),
        error: None,
        report: None,
        remaining: Vec::new(),
        committed: false,
        value: Value::Null,
        facts: BTreeMap::new(),
    }
}

/// The events of a run, each some time after the one before.
pub struct Stream {
    pub events: Vec<RunEvent>,
    now_ms: i64,
    began_ms: BTreeMap<String, i64>,
}

impl Stream {
    pub fn new() -> Self {
        let mut stream = Self { events: Vec::new(), now_ms: START_MS, began_ms: BTreeMap::new() };
        stream.entry(Entry::RunStarted { header: Box::new(header()) });
        stream
    }

    pub fn wait(&mut self, ms: i64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    pub fn entry(&mut self, entry: Entry) -> &mut Self {
        let n = self.events.len() as u64 + 1;
        self.events.push(RunEvent::Recorded(Record { run: run(), n, at_ms: self.now_ms, entry }));
        self
    }

    pub fn open(&mut self, seq: &str, title: &str) -> &mut Self {
        self.entry(Entry::StepOpened { seq: seq.parse().unwrap(), title: title.into() })
    }

    pub fn close(&mut self, seq: &str, ok: bool) -> &mut Self {
        self.entry(Entry::StepClosed { seq: seq.parse().unwrap(), ok })
    }

    pub fn intend(&mut self, seq: &str, kind: &str, subject: &str, args: Value) -> &mut Self {
        self.intend_undoing(seq, kind, subject, args, None)
    }

    pub fn intend_undoing(
        &mut self,
        seq: &str,
        kind: &str,
        subject: &str,
        args: Value,
        undoes: Option<&str>,
    ) -> &mut Self {
        let reads = ["docker_inspect", "docker_list", "health_wait", "http_get", "sleep", "now", "sqlite_check"];
        let read = reads.contains(&kind);
        let undo = if read || undoes.is_some() {
            UndoRecord::Nothing
        } else {
            UndoRecord::Effect { kind: "docker_remove".into(), args: json!({}) }
        };
        let intent = Intent {
            seq: seq.parse().unwrap(),
            kind: kind.into(),
            subject: subject.into(),
            args,
            access: if read { EntryAccess::Read } else { EntryAccess::Write },
            recovery: EntryRecovery::Observe,
            undo,
            site: Some(Site { source: "bluegreen.rhai".into(), line: 12, column: 5 }),
            undoes: undoes.map(|seq| seq.parse().unwrap()),
        };
        self.began_ms.insert(seq.into(), self.now_ms);
        self.entry(Entry::Intended { intent: Box::new(intent) })
    }

    pub fn complete(&mut self, seq: &str, ms: u64, outcome: Value) -> &mut Self {
        let elapsed_ms = self.after(seq, ms);
        self.entry(Entry::Completed { seq: seq.parse().unwrap(), outcome, elapsed_ms })
    }

    pub fn fail(&mut self, seq: &str, ms: u64, error: EffectError) -> &mut Self {
        let elapsed_ms = self.after(seq, ms);
        self.entry(Entry::Failed { seq: seq.parse().unwrap(), error, elapsed_ms })
    }

    /// Lets time pass; the time since the effect began.
    fn after(&mut self, seq: &str, ms: u64) -> u64 {
        self.now_ms += i64::try_from(ms).unwrap();
        let began_ms = self.began_ms.get(seq).copied().unwrap_or(self.now_ms);
        u64::try_from(self.now_ms - began_ms).unwrap_or(0)
    }

    pub fn log(&mut self, level: Level, text: &str) -> &mut Self {
        self.entry(Entry::Logged { seq: None, level, text: text.into() })
    }

    pub fn progress(&mut self, seq: &str, ms: i64, text: &str, fraction: Option<f32>) -> &mut Self {
        self.now_ms += ms;
        let seq = seq.parse().unwrap();
        self.events.push(RunEvent::Progress { run: run(), seq, at_ms: self.now_ms, text: text.into(), fraction });
        self
    }

    pub fn end(&mut self, end: RunEnd) -> Vec<RunEvent> {
        self.entry(Entry::RunEnded { end: Box::new(end) });
        std::mem::take(&mut self.events)
    }
}

/// A blue-green deploy that goes well.
pub fn success() -> Vec<RunEvent> {
    let mut stream = Stream::new();
    let green = "9".repeat(64);
    let container = |name: &str| json!({"id": green, "name": name, "image": "web:v2", "state": "running"});
    stream.open("1", "Preflight").intend("2", "lock", "web", json!({"service": "web"})).complete("2", 3, json!({}));
    stream.intend("3", "docker_inspect", "web", json!({"container": "web"}));
    stream.complete("3", 9, json!({"id": "8".repeat(64), "name": "web", "state": "running"}));
    stream.intend("4", "docker_build", "web:v2", json!({"tag": "web:v2"}));
    stream.progress("4", 4_000, "Step 2/5 : RUN pip install", Some(0.4));
    stream.progress("4", 7_000, "Step 3/5 : COPY . .", Some(0.6));
    stream.complete("4", 1_300, json!({"id": "sha256:aa", "tags": ["web:v2"]})).close("1", true);
    stream.open("5", "Start green").log(Level::Info, "green listens on 8081");
    stream.intend("6", "docker_run", "web-green (web:v2)", json!({"name": "web-green", "image": "web:v2"}));
    stream.complete("6", 420, container("web-green"));
    stream.intend("7", "health_wait", &green, json!({})).complete("7", 1_250, json!({"attempts": 3}));
    stream.close("5", true).open("8", "Cut over");
    stream.intend("9", "docker_stop", "web", json!({"container": "web"})).complete(
        "9",
        800,
        json!({"exit_code": 0, "killed": false}),
    );
    stream.intend("10", "docker_remove", "web", json!({"container": "web"})).complete(
        "10",
        30,
        json!({"removed": true}),
    );
    stream.intend("11", "docker_rename", &format!("{green} -> web"), json!({"container": green, "name": "web"}));
    stream.complete("11", 12, container("web")).close("8", true);
    stream.entry(Entry::Committed { seq: "12".parse().unwrap() });
    stream.intend("13", "notify", "slack succeeded", json!({})).complete(
        "13",
        90,
        json!({"delivered": false, "error": "connection refused"}),
    );
    stream.log(Level::Print, "web is at v2");
    let facts = BTreeMap::from([("service".to_owned(), "web".to_owned())]);
    stream.end(RunEnd { committed: true, facts, ..end(RunStatus::Succeeded) })
}

fn unhealthy() -> EffectError {
    EffectError::new(
        ErrorKind::Unhealthy,
        "container `web-green` never became healthy: the last answer was 503 Service Unavailable",
    )
    .hint("docker logs web-green")
    .detail("starting\nTraceback (most recent call last):\nKeyError: 'DATABASE_URL'")
}

fn failing() -> Stream {
    let mut stream = Stream::new();
    stream.open("1", "Start green");
    stream.intend("2", "docker_run", "web-green (web:v3)", json!({"name": "web-green", "image": "web:v3"}));
    stream.complete("2", 310, json!({"id": "9".repeat(64), "name": "web-green"}));
    stream.intend("3", "docker_inspect", "web-green", json!({})).complete("3", 4, json!({}));
    stream.intend("4", "health_wait", "web-green", json!({}));
    stream.progress("4", 10_000, "503 from http://127.0.0.1:8081/", None).fail("4", 20_000, unhealthy());
    stream.close("1", false);
    stream.entry(Entry::RollbackStarted { reason: "container `web-green` never became healthy".into() });
    stream.intend_undoing("5", "docker_remove", "web-green", json!({"container": "web-green"}), Some("2"));
    stream
}

/// A deploy whose new container never gets healthy: rolled back.
pub fn failure() -> Vec<RunEvent> {
    let mut stream = failing();
    stream.complete("5", 120, json!({"removed": true}));
    stream.entry(Entry::RollbackCalled { seq: "1".parse().unwrap() });
    let report =
        "deployer::run::unhealthy\n\n  × container `web-green` never became healthy\n   ╭─[bluegreen.rhai:12:5]\n";
    let (error, report) = (Some("container `web-green` never became healthy".into()), Some(report.into()));
    stream.end(RunEnd { error, report, ..end(RunStatus::Failed) })
}

/// One that cannot be rolled back.
pub fn stuck() -> Vec<RunEvent> {
    let mut stream = failing();
    stream.fail(
        "5",
        60_000,
        EffectError::new(ErrorKind::Timeout, "the engine did not answer in 60s").hint("docker ps"),
    );
    let remaining = vec![
        Remaining {
            what: "container `web-green` is still there".into(),
            command: Some("docker rm -f web-green".into()),
        },
        Remaining { what: "tell those who wait for v3".into(), command: None },
    ];
    stream.end(RunEnd { error: Some("the engine did not answer in 60s".into()), remaining, ..end(RunStatus::Stuck) })
}

/// Two branches at once, steps inside steps, a failure that the script lives with.
pub fn parallel() -> Vec<RunEvent> {
    let mut stream = Stream::new();
    stream.open("1", "Deploy all").entry(Entry::ParallelOpened { seq: "2".parse().unwrap(), branches: 2 });
    stream.open("2.1.1", "Web").open("2.2.1", "Worker");
    stream.intend("2.1.2", "docker_pull", "web:v2", json!({"image": "web:v2"}));
    stream.intend("2.2.2", "docker_pull", "worker:v2", json!({"image": "worker:v2"}));
    stream.progress("2.1.2", 6_000, "Downloading 3 of 7", Some(0.43));
    stream.progress("2.1.2", 6_000, "Downloading 6 of 7", Some(0.86));
    stream.complete("2.2.2", 500, json!({})).open("2.2.3", "Migrate");
    stream.intend("2.2.4", "docker_exec", "db: migrate", json!({}));
    stream.fail("2.2.4", 700, EffectError::new(ErrorKind::Failed, "`migrate` ended with code 1"));
    stream.close("2.2.3", true).complete("2.1.2", 300, json!({})).close("2.2.1", true).close("2.1.1", true);
    stream.entry(Entry::ParallelClosed { seq: "2".parse().unwrap() }).close("1", true);
    stream.end(end(RunStatus::Succeeded))
}

/// Names that are long and wide.
pub fn unicode() -> Vec<RunEvent> {
    let mut stream = Stream::new();
    let image = "registry.example.com:5000/部署/とても長い名前のイメージ:2026-03-01-with-a-very-long-tag";
    stream.open("1", "デプロイを開始する — une étape au titre bien trop long pour un terminal étroit");
    stream.log(Level::Warn, "la base de données est à 91 % pleine, und das ist eine recht lange Warnung 🚀");
    stream.intend("2", "docker_pull", image, json!({"image": image}));
    stream.progress("2", 11_000, "ダウンロード中 12 MB / 34 MB \x1b[31mred\x1b[0m", Some(0.35));
    stream.fail(
        "2",
        1_000,
        EffectError::new(ErrorKind::Refused, format!("`{image}` may not be pulled: 権限がありません")),
    );
    stream.close("1", false);
    stream.end(RunEnd { error: Some("may not be pulled".into()), ..end(RunStatus::Failed) })
}

/// A writer whose text can be read afterwards.
#[derive(Clone, Default)]
pub struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl SharedBuffer {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a reporter writes: data and talk.
pub fn drawn(format: Format, display: DisplayOptions, events: &[RunEvent]) -> (String, String) {
    let (data, talk) = (SharedBuffer::default(), SharedBuffer::default());
    let output = Output { data: Box::new(data.clone()), talk: Box::new(talk.clone()) };
    let mut reporter: Box<dyn Reporter> = reporter(format, display, output);
    events.iter().for_each(|event| reporter.show(event));
    reporter.finish();
    drop(reporter);
    (data.text(), talk.text())
}
