//! The locks that this process has acquired for its run, and their epochs. Knows no world and no effect.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks and epochs, by service.
#[derive(Debug, Default)]
pub(crate) struct HeldLocks {
    epochs: Mutex<BTreeMap<String, u64>>,
    wait: Mutex<Duration>,
}

impl HeldLocks {
    /// Records a lock that this process acquired.
    pub fn acquired(&self, service: &str, epoch: u64) {
        self.epochs().insert(service.to_owned(), epoch);
    }

    /// Records that a lock was released.
    pub fn released(&self, service: &str) {
        self.epochs().remove(service);
    }

    /// Returns all held locks with their epochs.
    pub fn all(&self) -> Vec<(String, u64)> {
        self.epochs().iter().map(|(service, epoch)| (service.clone(), *epoch)).collect()
    }

    /// Returns the epoch for what is created for this service; without a service, the greatest epoch.
    /// `None` for a service whose lock is not held: another run owns its epochs.
    pub fn epoch(&self, service: Option<&str>) -> Option<u64> {
        let epochs = self.epochs();
        match service {
            Some(service) => epochs.get(service).copied(),
            None => epochs.values().max().copied(),
        }
    }

    /// Sets the minimum time to wait for a lock.
    pub fn wait_at_least(&self, wait: Duration) {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = wait;
    }

    /// Returns the minimum time to wait for a lock.
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
    fn each_service_has_its_epoch() {
        let locks = HeldLocks::default();
        assert_eq!(locks.epoch(None), None);
        locks.acquired("web", 3);
        locks.acquired("api", 9);
        assert_eq!((locks.epoch(Some("web")), locks.epoch(Some("other")), locks.epoch(None)), (Some(3), None, Some(9)));
        locks.released("api");
        assert_eq!((locks.epoch(None), locks.all()), (Some(3), vec![("web".to_owned(), 3)]));
    }
}
