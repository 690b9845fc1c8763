//! The names that live on the engine right now, for completion. Fetched beside the session; asked for without waiting.

use std::sync::{Arc, PoisonError, RwLock};

/// Names of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub containers: Vec<String>,
    pub images: Vec<String>,
    pub volumes: Vec<String>,
    pub networks: Vec<String>,
    pub services: Vec<String>,
}

/// The latest names that are known.
#[derive(Clone, Debug, Default)]
pub struct KnownNames(Arc<RwLock<Arc<Names>>>);

impl KnownNames {
    pub fn put(&self, names: Names) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }

    pub fn get(&self) -> Arc<Names> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
