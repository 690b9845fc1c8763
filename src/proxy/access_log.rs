//! One JSON line for each request, on standard output or in a file that is rotated. Requests never wait for the disk: an
//! entry that does not fit into the queue is counted and dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::window::RequestEnd;

/// Entries that may wait for the disk.
const QUEUE: usize = 8_192;
/// The size at which the file is rotated.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// The number of rotated files.
const FILES_KEPT: u32 = 4;

/// The access log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<LogEntry>,
    dropped: Arc<AtomicU64>,
}

/// The entry of a request that has not ended yet.
#[derive(Debug)]
pub struct PendingEntry {
    log: AccessLog,
    entry: LogEntry,
}

/// One line of the log.
#[derive(Debug, Default, Serialize)]
pub struct LogEntry {
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
    /// Why there is no complete response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

impl AccessLog {
    /// Opens the log at `path`, or standard output for `-`.
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
            let mut file = RotatingFile::open(path.to_owned())?;
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || write_all(&lines, |text| file.write(text)))?;
        }
        Ok(Self { queue, dropped: Arc::default() })
    }

    /// Begins the entry of a request.
    pub fn begin(&self, entry: LogEntry) -> PendingEntry {
        PendingEntry { log: self.clone(), entry }
    }

    /// Returns the number of entries that did not fit into the queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl PendingEntry {
    /// Sets the target that answered.
    pub fn target(&mut self, name: &str) {
        name.clone_into(&mut self.entry.target);
    }

    /// Sets the service of the request.
    pub fn service(&mut self, name: &str) {
        name.clone_into(&mut self.entry.service);
    }

    /// Completes the entry and queues it.
    pub fn write(mut self, status: u16, took: Duration, bytes: u64, end: RequestEnd) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.entry.at_ms = u64::try_from(since.as_millis()).unwrap_or_default();
        self.entry.status = status;
        self.entry.took_ms = took.as_micros() as f64 / 1_000.0;
        self.entry.bytes = bytes;
        self.entry.error = match end {
            RequestEnd::Answered(_) => None,
            RequestEnd::Connect => Some("connect"),
            RequestEnd::Timeout => Some("timeout"),
            RequestEnd::Broken => Some("broken"),
            RequestEnd::Cut => Some("cut"),
            RequestEnd::Client => Some("client"),
            RequestEnd::Proxy => Some("proxy"),
        };
        if self.log.queue.try_send(self.entry).is_err() {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(lines: &Receiver<LogEntry>, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
    while let Ok(entry) = lines.recv() {
        let Ok(mut text) = serde_json::to_vec(&entry) else { continue };
        text.push(b'\n');
        // A full disk must not stop requests.
        drop(write(&text));
    }
}

/// A file that is renamed when it is full.
struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl RotatingFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.size >= FILE_MAX {
            self.file.flush()?;
            for number in (1..FILES_KEPT).rev() {
                // Fails while there are fewer files, which is fine.
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
