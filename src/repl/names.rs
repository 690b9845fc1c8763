//! The names that live on the engine right now, for completion. Fetched beside the session: only the first ones
//! are waited for, and not for long.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Names of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub containers: Vec<String>,
    pub images: Vec<String>,
    pub volumes: Vec<String>,
    pub networks: Vec<String>,
    pub services: Vec<String>,
}

/// How long whoever completes waits for the first names: Tab may come as soon as the prompt is there.
const FIRST: Duration = Duration::from_millis(1500);

/// The latest names that are known.
#[derive(Clone, Debug, Default)]
pub struct KnownNames(Arc<Latest>);

#[derive(Debug, Default)]
struct Latest {
    names: Mutex<Option<Arc<Names>>>,
    first: Condvar,
}

impl KnownNames {
    pub fn put(&self, names: Names) {
        *self.0.names.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(names));
        self.0.first.notify_all();
    }

    /// The latest names; none while nobody has told any.
    pub fn get(&self) -> Arc<Names> {
        let names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.first.wait_timeout_while(names, FIRST, |names| names.is_none());
        let (names, _) = waited.unwrap_or_else(PoisonError::into_inner);
        names.clone().unwrap_or_default()
    }
}
