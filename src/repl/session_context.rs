//! What a session needs besides effects. Implemented by `cli`.

use super::engine_names::EngineNames;
use crate::gateway::ledger::Listener;
use crate::run::session_run::SessionRun;

/// Access to service status, simulation, engine names and files.
pub trait SessionContext: Send + Sync {
    /// Returns the status of all services as text.
    ///
    /// # Errors
    /// Returns a one-line message.
    fn services(&self) -> Result<String, String>;

    /// Creates a run in a simulated copy of the host.
    ///
    /// # Errors
    /// Returns a one-line message.
    fn simulate(&self, listener: Listener) -> Result<SessionRun, String>;

    /// Returns the names on the engine; empty if it does not answer.
    fn names(&self) -> EngineNames;

    /// Writes a new file.
    ///
    /// # Errors
    /// Returns a one-line message, also if the file exists.
    fn save(&self, path: &str, text: &str) -> Result<(), String>;
}
