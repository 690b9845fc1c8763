//! The attempts of one phase of the search.

use super::attempt::Attempt;

/// Attempts to make, and how many there are.
pub(super) struct AttemptQueue<'a> {
    pub attempts: Box<dyn Iterator<Item = Attempt> + Send + 'a>,
    pub count: u64,
}

impl<'a> AttemptQueue<'a> {
    /// Creates the queue from an iterator that can be made twice: the attempts are counted first, and never collected.
    pub fn of<I: Iterator<Item = Attempt> + Send + 'a>(make: impl Fn() -> I) -> Self {
        let count = u64::try_from(make().count()).unwrap_or(u64::MAX);
        Self::with_count(make(), count)
    }

    /// Creates the queue from an iterator whose length is known.
    pub fn with_count(attempts: impl Iterator<Item = Attempt> + Send + 'a, count: u64) -> Self {
        Self { attempts: Box::new(attempts), count }
    }
}
