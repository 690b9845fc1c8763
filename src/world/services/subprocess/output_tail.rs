//! Keeps the end of a stream, up to a limit. Knows no program.

use std::sync::{Mutex, PoisonError};

/// Bytes read at a time.
pub(super) const CHUNK: usize = 16 << 10;

/// The last bytes of a stream.
pub(super) struct OutputTail {
    limit: usize,
    buffer: Mutex<Buffer>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    is_truncated: bool,
}

impl OutputTail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, buffer: Mutex::default() }
    }

    pub(super) fn push(&self, chunk: &[u8]) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.bytes.extend_from_slice(chunk);
        // Truncated only now and then: moving the bytes for each chunk would cost more than reading it.
        if buffer.bytes.len() > self.limit.saturating_mul(2).saturating_add(CHUNK) {
            buffer.truncate(self.limit);
        }
    }

    /// Returns the kept bytes as text, from the first whole character on.
    pub(super) fn text(&self) -> String {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.truncate(self.limit);
        let split_character = match buffer.is_truncated {
            true => buffer.bytes.iter().take_while(|byte| (**byte & 0xC0) == 0x80).count(),
            false => 0,
        };
        String::from_utf8_lossy(&buffer.bytes[split_character..]).into_owned()
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner).is_truncated
    }
}

impl Buffer {
    fn truncate(&mut self, limit: usize) {
        let excess = self.bytes.len().saturating_sub(limit);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.is_truncated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_between_characters() {
        let tail = OutputTail::new(5);
        for _ in 0..20_000 {
            tail.push("aä".as_bytes());
        }
        assert_eq!(tail.text(), "äaä");
        assert!(tail.is_truncated());
        let complete = OutputTail::new(5);
        complete.push(b"abcde");
        assert_eq!((complete.text().as_str(), complete.is_truncated()), ("abcde", false));
    }
}
