//! What the operations on databases need.

use std::sync::Arc;

use super::location::DatabaseLocator;
use crate::world::World;
use crate::world::clock::Clock;
use crate::world::engine::Engine;
use crate::world::services::object_storage::connector::StorageConnector;

/// Shared by all operations on databases.
pub(super) struct SqliteContext {
    pub engine: Arc<dyn Engine>,
    pub locator: DatabaseLocator,
    pub storage: StorageConnector,
    pub clock: Arc<dyn Clock>,
    /// Runs the container of a dry run.
    pub containers: Option<Arc<dyn World>>,
}
