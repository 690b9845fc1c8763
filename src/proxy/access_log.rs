//! One JSON line for each request, to standard output or to a file that turns over. Never waits for the disk: a line
//! that does not fit the queue is counted and dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::window::End;

/// Lines that wait for the disk.
const QUEUE: usize = 8_192;
/// Bytes of one file.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Files that are kept besides the current one.
const FILES_KEPT: u32 = 4;

/// The end of the queue that requests write to.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// What is known of a request when it comes.
#[derive(Debug)]
pub struct Line {
    log: AccessLog,
    entry: Entry,
}

#[derive(Debug, Default, Serialize)]
pub struct Entry {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub id: String,
    pub peer: String,
    pub protocol: &'static str,
    pub method: String,
    pub host: String,
    pub path: String,
    pub service: String,
    pub target: String,
    pub status: u16,
    pub took_ms: f64,
    pub bytes: u64,
    /// Why there is no whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

impl AccessLog {
    /// To `path`, or to standard output for `-`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        if path == Path::new("-") {
            let mut out = io::stdout();
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || write_all(&lines, |text| out.write_all(text).and_then(|()| out.flush())))?;
        } else {
            let mut file = Turning::open(path.to_owned())?;
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || write_all(&lines, |text| file.write(text)))?;
        }
        Ok(Self { queue, dropped: Arc::default() })
    }

    pub fn line(&self, entry: Entry) -> Line {
        Line { log: self.clone(), entry }
    }

    /// Lines that did not fit the queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Line {
    pub fn target(&mut self, name: &str) {
        name.clone_into(&mut self.entry.target);
    }

    pub fn service(&mut self, name: &str) {
        name.clone_into(&mut self.entry.service);
    }

    pub fn write(mut self, status: u16, took: Duration, bytes: u64, end: End) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.entry.at_ms = u64::try_from(since.as_millis()).unwrap_or_default();
        self.entry.status = status;
        self.entry.took_ms = took.as_micros() as f64 / 1_000.0;
        self.entry.bytes = bytes;
        self.entry.error = match end {
            End::Answered(_) => None,
            End::Connect => Some("connect"),
            End::Timeout => Some("timeout"),
            End::Broken => Some("broken"),
            End::Cut => Some("cut"),
            End::Client => Some("client"),
        };
        if self.log.queue.try_send(self.entry).is_err() {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(lines: &Receiver<Entry>, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
    while let Ok(entry) = lines.recv() {
        let Ok(mut text) = serde_json::to_vec(&entry) else { continue };
        text.push(b'\n');
        // Requests go on without a log: a full disk must not stop them.
        drop(write(&text));
    }
}

/// A file that makes room for the next one when it is full.
struct Turning {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Turning {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.size >= FILE_MAX {
            self.file.flush()?;
            for number in (1..FILES_KEPT).rev() {
                // Not every one is there yet.
                drop(std::fs::rename(self.numbered(number), self.numbered(number + 1)));
            }
            std::fs::rename(&self.path, self.numbered(1))?;
            *self = Self::open(self.path.clone())?;
        }
        self.size += text.len() as u64;
        self.file.write_all(text)?;
        self.file.flush()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}
