//! The state of a running proxy that the control socket and the handover share.

use std::sync::Arc;

use tokio::sync::watch;

use super::controller::Controller;
use super::options::ProxyOptions;

/// A running proxy.
pub struct RunningProxy {
    pub options: ProxyOptions,
    pub controller: Arc<Controller>,
    /// Becomes true when another process has taken over.
    pub taken_over: watch::Sender<bool>,
    /// Counts the open control connections.
    control_connections: Arc<()>,
}

/// Marks a control connection as open until it is dropped.
pub struct ControlConnectionGuard {
    _count: Arc<()>,
}

impl RunningProxy {
    pub fn new(options: ProxyOptions, controller: Arc<Controller>, taken_over: watch::Sender<bool>) -> Self {
        Self { options, controller, taken_over, control_connections: Arc::default() }
    }

    /// Counts a control connection until the guard is dropped, so that the process does not end before the reply is
    /// written.
    pub fn open_control_connection(&self) -> ControlConnectionGuard {
        ControlConnectionGuard { _count: Arc::clone(&self.control_connections) }
    }

    pub fn control_connections(&self) -> usize {
        Arc::strong_count(&self.control_connections).saturating_sub(1)
    }
}
