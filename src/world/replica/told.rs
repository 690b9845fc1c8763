//! The progress of a copy, for people.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::Call;

/// How often it is told: every so many bytes.
const TOLD_EVERY: u64 = 8 << 20;

/// Progress in bytes, told now and then.
pub struct Told<'a> {
    call: &'a Call,
    total: Option<u64>,
    /// The part of the whole that this is.
    from: f32,
    to: f32,
    done: AtomicU64,
}

impl<'a> Told<'a> {
    pub fn new(call: &'a Call, total: Option<u64>, from: f32, to: f32) -> Self {
        Self { call, total, from, to, done: AtomicU64::new(0) }
    }

    pub fn add(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        let is_first = before == 0;
        if !is_first && before / TOLD_EVERY == done / TOLD_EVERY && self.total != Some(done) {
            return;
        }
        let mb = |bytes: u64| bytes >> 20;
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let part = (done as f64 / total as f64).min(1.0) as f32;
                let text = format!("{} of {} MB", mb(done), mb(total));
                self.call.tell_fraction(text, self.from + (self.to - self.from) * part);
            }
            None => self.call.tell(format!("{} MB", mb(done))),
        }
    }
}
