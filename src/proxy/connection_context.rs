//! What every request of one client connection needs to know.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::headers::ClientInfo;
use super::shared::Shared;

/// One client connection.
#[derive(Debug)]
pub struct ConnectionContext {
    /// The state of the whole process.
    pub shared: Arc<Shared>,
    /// The number of the serving thread.
    pub thread: usize,
    /// The public address that the client connected to.
    pub address: SocketAddr,
    /// Who is connected.
    pub client: ClientInfo,
    /// The connection's slot. An upgraded stream keeps it until it ends.
    pub _slot: OwnedSemaphorePermit,
}
