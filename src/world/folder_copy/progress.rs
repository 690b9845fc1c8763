//! Reports the progress of a copy.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::Call;

/// How many bytes pass between two reports.
const REPORT_INTERVAL: u64 = 8 << 20;

/// Counts bytes and reports them as the progress of a call.
pub struct CopyProgress<'a> {
    call: &'a Call,
    total: Option<u64>,
    /// The range of the overall progress that this copy covers, from 0 to 1.
    from: f32,
    to: f32,
    done: AtomicU64,
}

impl<'a> CopyProgress<'a> {
    /// Starts at zero. `total` is the expected number of bytes. `from` and `to` are the range of the overall progress
    /// that these bytes cover, from 0 to 1.
    pub fn new(call: &'a Call, total: Option<u64>, from: f32, to: f32) -> Self {
        Self { call, total, from, to, done: AtomicU64::new(0) }
    }

    /// Adds bytes, and reports the progress from time to time.
    pub fn add(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        let is_first = before == 0;
        if !is_first && before / REPORT_INTERVAL == done / REPORT_INTERVAL && self.total != Some(done) {
            return;
        }
        let mb = |bytes: u64| bytes >> 20;
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let part = (done as f64 / total as f64).min(1.0) as f32;
                let text = format!("{} of {} MB", mb(done), mb(total));
                self.call.report_progress_fraction(text, self.from + (self.to - self.from) * part);
            }
            None => self.call.report_progress(format!("{} MB", mb(done))),
        }
    }
}
