//! Posts rows to an app at a steady rate, each with a unique title, and records which rows were acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::http;

/// Threads. A single one cannot keep the rate while responses are slow.
const THREADS: u32 = 8;
const CREATED: u16 = 201;
static NEXT_ROW: AtomicU64 = AtomicU64::new(1);

pub struct Writer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Written>>,
}

/// The results of a writer.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Titles of the rows that the app acknowledged.
    pub acknowledged: Vec<String>,
    /// Requests without an acknowledgement.
    pub failed: u64,
}

impl Writer {
    /// Starts to post rows to `/api/manuals` at this rate.
    pub fn start(port: u16, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * THREADS / per_second;
        let thread = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || write(port, pause, &stop))
        };
        Self { threads: (0..THREADS).map(thread).collect(), stop }
    }

    /// Stops the writer, waits for the requests in flight, and returns the results.
    pub fn finish(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for thread in self.threads {
            let written = thread.join().unwrap();
            all.acknowledged.extend(written.acknowledged);
            all.failed += written.failed;
        }
        all
    }
}

fn write(port: u16, pause: Duration, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let title = format!("row {}", NEXT_ROW.fetch_add(1, Ordering::Relaxed));
        let reply = http::post(port, "/api/manuals", &format!("{{\"title\": \"{title}\"}}"));
        if reply.is_ok_and(|reply| reply.status == CREATED) {
            written.acknowledged.push(title);
        } else {
            written.failed += 1;
        }
        next = (next + pause).max(Instant::now() - pause);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    written
}

/// Asserts that the database is intact and has each of these rows exactly once. `what` describes the deploy.
#[track_caller]
pub fn assert_has_rows(database: &Path, acknowledged: &[String], what: &str) {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{what}");
    let mut statement = connection.prepare("SELECT title, count(*) FROM manuals GROUP BY title").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let counts: BTreeMap<String, i64> = rows.map(Result::unwrap).collect();
    let wrong: Vec<_> = acknowledged
        .iter()
        .map(|title| (title, counts.get(title).copied().unwrap_or(0)))
        .filter(|(_, count)| *count != 1)
        .collect();
    assert!(wrong.is_empty(), "{what}: {} of {} rows: {:?}", wrong.len(), acknowledged.len(), wrong.first());
}

/// Returns the titles of all rows in all databases on the volumes whose names start with `prefix`. `folder` is the folder
/// of one of these volumes.
pub fn titles_on_volumes(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let volumes = std::fs::read_dir(folder.parent().unwrap().parent().unwrap()).unwrap().map(Result::unwrap);
    let mut titles = BTreeSet::new();
    for volume in volumes.filter(|volume| volume.file_name().to_str().unwrap().starts_with(prefix)) {
        for file in std::fs::read_dir(volume.path().join("_data")).unwrap().map(|file| file.unwrap().path()) {
            let Ok(connection) = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE) else {
                continue;
            };
            // Most files are not databases.
            let Ok(mut rows) = connection.prepare("SELECT title FROM manuals") else { continue };
            titles.extend(rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
        }
    }
    titles
}
