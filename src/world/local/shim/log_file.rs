//! The log of one container: standard output and error together, bounded by rotation. Uses only std, because the
//! supervisor writes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// At this size the log is rotated; one older file is kept.
pub(crate) const MAX_SIZE: u64 = 10 << 20;
/// Longer lines are split into pieces of this many bytes.
const MAX_LINE: u64 = 16 << 10;

/// The log file of a container, open for appending.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens the log for appending.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.into(), file, size })
    }

    /// Appends a line, given without its line end.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size >= MAX_SIZE {
            fs::rename(&self.path, older(&self.path))?;
            *self = Self::open(&self.path)?;
        }
        let mut whole = line.to_vec();
        whole.push(b'\n');
        self.file.write_all(&whole)?;
        self.size += whole.len() as u64;
        Ok(())
    }
}

/// Calls `take` with every line of a stream.
pub(crate) fn each_line(stream: impl Read, mut take: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => take(line.strip_suffix(b"\n").unwrap_or(&line)),
        }
    }
}

pub(crate) fn older(path: &Path) -> PathBuf {
    path.with_extension("1")
}

/// Returns the last lines, oldest first, skipping what cannot be read.
pub(crate) fn last_lines(path: &Path, wanted: usize) -> Vec<String> {
    let mut lines = VecDeque::new();
    for part in [older(path), path.to_owned()] {
        let Ok(file) = File::open(part) else { continue };
        each_line(file, |line| {
            if lines.len() == wanted {
                lines.pop_front();
            }
            if wanted > 0 {
                lines.push_back(String::from_utf8_lossy(line).trim_end_matches('\r').to_owned());
            }
        });
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_a_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..25 {
            log.write_line(&line).unwrap();
        }
        log.write_line(b"last\r").unwrap();
        let total = fs::metadata(&path).unwrap().len() + fs::metadata(older(&path)).unwrap().len();
        assert!(total < 2 * MAX_SIZE + (2 << 20), "{total}");
        assert_eq!(last_lines(&path, 1), ["last"]);
        assert_eq!(last_lines(&path, 0).len(), 0);
    }

    #[test]
    fn breaks_endless_lines() {
        let mut pieces = 0;
        each_line(io::repeat(b'x').take(MAX_LINE * 3 + 1), |_| pieces += 1);
        assert_eq!(pieces, 4);
    }
}
