//! What a session needs from outside: handed in by whoever opens it.

use super::names::Names;
use crate::gateway::ledger::Listener;
use crate::run::session_run::SessionRun;

/// The engine beyond single effects, and files.
pub trait Surroundings: Send + Sync {
    /// How all services stand, as text of so many columns.
    ///
    /// # Errors
    /// One line for people.
    fn services(&self) -> Result<String, String>;

    /// A run in a simulated world that begins as the real one is now. Nothing that is done there is done.
    ///
    /// # Errors
    /// One line for people.
    fn rehearsal(&self, listener: Listener) -> Result<SessionRun, String>;

    /// The names that are on the engine now; empty when it does not answer.
    fn names(&self) -> Names;

    /// Writes a file that is not there yet.
    ///
    /// # Errors
    /// One line for people.
    fn save(&self, path: &str, text: &str) -> Result<(), String>;
}
