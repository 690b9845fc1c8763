//! Keeps the end of a program's output in bounded memory.

use std::collections::VecDeque;

/// The longest line that is kept whole. A longer one is split.
const LONGEST_LINE: usize = 64 << 10;

/// The last bytes of a stream.
#[derive(Debug)]
pub(super) struct ByteTail {
    limit: usize,
    kept: VecDeque<u8>,
    truncated: bool,
}

impl ByteTail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: VecDeque::new(), truncated: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = if bytes.len() > self.limit {
            self.truncated = true;
            &bytes[bytes.len() - self.limit..]
        } else {
            bytes
        };
        let overflow = (self.kept.len() + bytes.len()).saturating_sub(self.limit);
        self.truncated |= overflow > 0;
        self.kept.drain(..overflow);
        self.kept.extend(bytes);
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the text, without a character that was cut at the start.
    pub(super) fn into_text(self) -> String {
        let bytes = Vec::from(self.kept);
        let start = if self.truncated { bytes.iter().take_while(|byte| *byte & 0xc0 == 0x80).count() } else { 0 };
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }
}

/// The last lines of a stream that arrives in pieces.
#[derive(Debug)]
pub(super) struct LineTail {
    lines: VecDeque<String>,
    line_limit: usize,
    byte_limit: usize,
    bytes: usize,
}

/// The current line of a stream, which has no end yet.
#[derive(Debug, Default)]
pub(super) struct PartialLine(Vec<u8>);

impl LineTail {
    pub(super) fn new(line_limit: usize, byte_limit: usize) -> Self {
        Self { lines: VecDeque::new(), line_limit, byte_limit, bytes: 0 }
    }

    pub(super) fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > self.line_limit || (self.bytes > self.byte_limit && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl PartialLine {
    /// Adds a piece and passes on each line that it completes.
    pub(super) fn push(&mut self, bytes: &[u8], mut on_line: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.0.len() >= LONGEST_LINE {
                on_line(self.take_line());
            }
        }
    }

    /// Returns the partial line at the end of the stream.
    pub(super) fn finish(mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.take_line())
    }

    fn take_line(&mut self) -> String {
        let bytes = std::mem::take(&mut self.0);
        String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_bytes() {
        let mut tail = ByteTail::new(5);
        tail.push(b"abc");
        assert!(!tail.is_truncated());
        tail.push(b"defg");
        assert!(tail.is_truncated());
        assert_eq!(tail.into_text(), "cdefg");
        let mut tail = ByteTail::new(3);
        tail.push("aéé".as_bytes());
        assert_eq!(tail.into_text(), "é", "half a character is left out");
        let mut none = ByteTail::new(0);
        none.push(b"x");
        assert_eq!(none.into_text(), "");
    }

    #[test]
    fn joins_pieces_into_lines() {
        let mut partial = PartialLine::default();
        let mut tail = LineTail::new(2, 1000);
        for piece in ["one\ntw", "o\r\nthr", "ee"] {
            partial.push(piece.as_bytes(), |line| tail.push(line));
        }
        partial.finish().into_iter().for_each(|line| tail.push(line));
        assert_eq!(tail.into_lines(), ["two", "three"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tail = LineTail::new(100, 10);
        for _ in 0..50 {
            tail.push("12345".into());
        }
        assert_eq!(tail.into_lines().len(), 2);
        let mut lines = 0;
        PartialLine::default().push(&vec![b'x'; 3 * LONGEST_LINE], |_| lines += 1);
        assert_eq!(lines, 1, "one piece is one line");
    }
}
