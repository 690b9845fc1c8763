//! The end of a stream, within a bound. Knows no program.

use std::sync::{Mutex, PoisonError};

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 16 << 10;

/// The last bytes of a stream.
pub(super) struct OutputTail {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl OutputTail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    pub(super) fn push(&self, chunk: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes.extend_from_slice(chunk);
        // Cut only now and then: moving the rest for every chunk would cost more than reading it.
        if kept.bytes.len() > self.limit.saturating_mul(2).saturating_add(CHUNK) {
            kept.cut(self.limit);
        }
    }

    pub(super) fn text(&self) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.cut(self.limit);
        let broken = if kept.is_cut { kept.bytes.iter().take_while(|byte| (**byte & 0xC0) == 0x80).count() } else { 0 };
        String::from_utf8_lossy(&kept.bytes[broken..]).into_owned()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).is_cut
    }
}

impl Kept {
    fn cut(&mut self, limit: usize) {
        let excess = self.bytes.len().saturating_sub(limit);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.is_cut = true;
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
        assert!(tail.is_cut());
        let whole = OutputTail::new(5);
        whole.push(b"abcde");
        assert_eq!((whole.text().as_str(), whole.is_cut()), ("abcde", false));
    }
}
