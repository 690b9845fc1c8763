//! Names of containers, images and so on, for completion. Fetched in the background; only the first fetch is waited for,
//! briefly.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The names on the engine at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNames {
    /// Names of containers.
    pub containers: Vec<String>,
    /// Names of images.
    pub images: Vec<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Names of services.
    pub services: Vec<String>,
}

/// How long a completion waits for the first fetch, since Tab can be pressed right after the prompt appears.
const FIRST_FETCH_WAIT: Duration = Duration::from_millis(1500);

/// The most recently fetched names.
#[derive(Clone, Debug, Default)]
pub struct NameCache(Arc<Latest>);

#[derive(Debug, Default)]
struct Latest {
    names: Mutex<Option<Arc<EngineNames>>>,
    first: Condvar,
}

impl NameCache {
    /// Replaces the names.
    pub fn put(&self, names: EngineNames) {
        *self.0.names.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(names));
        self.0.first.notify_all();
    }

    /// Returns the names; empty if none were fetched in time.
    pub fn get(&self) -> Arc<EngineNames> {
        let names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.first.wait_timeout_while(names, FIRST_FETCH_WAIT, |names| names.is_none());
        let (names, _) = waited.unwrap_or_else(PoisonError::into_inner);
        names.clone().unwrap_or_default()
    }
}
