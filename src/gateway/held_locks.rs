//! The locks that this process has taken for its run, and their numbers. Knows no world and no effect.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct HeldLocks {
    epochs: Mutex<BTreeMap<String, u64>>,
    wait: Mutex<Duration>,
}

impl HeldLocks {
    pub fn took(&self, service: &str, epoch: u64) {
        self.epochs().insert(service.to_owned(), epoch);
    }

    pub fn let_go(&self, service: &str) {
        self.epochs().remove(service);
    }

    pub fn all(&self) -> Vec<(String, u64)> {
        self.epochs().iter().map(|(service, epoch)| (service.clone(), *epoch)).collect()
    }

    /// The number for what is made for this service; for what is made for none, the greatest.
    /// None for a service whose lock is not held: its numbers are given by others.
    pub fn epoch(&self, service: Option<&str>) -> Option<u64> {
        let epochs = self.epochs();
        match service {
            Some(service) => epochs.get(service).copied(),
            None => epochs.values().max().copied(),
        }
    }

    pub fn wait_at_least(&self, wait: Duration) {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = wait;
    }

    pub fn wait(&self) -> Duration {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn epochs(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_belong_to_services() {
        let locks = HeldLocks::default();
        assert_eq!(locks.epoch(None), None);
        locks.took("web", 3);
        locks.took("api", 9);
        assert_eq!((locks.epoch(Some("web")), locks.epoch(Some("other")), locks.epoch(None)), (Some(3), None, Some(9)));
        locks.let_go("api");
        assert_eq!((locks.epoch(None), locks.all()), (Some(3), vec![("web".to_owned(), 3)]));
    }
}
