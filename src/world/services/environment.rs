//! Access to deployer's own environment variables.

use std::sync::Arc;

/// Reads one of deployer's own environment variables.
pub type EnvLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
