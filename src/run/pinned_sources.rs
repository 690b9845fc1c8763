//! The modules that a run had loaded, pinned: a resumed run executes the same texts.

use std::sync::Arc;

use crate::gateway::ledger::Ledger;
use crate::script::source::SourceLoader;

/// Loads modules from the journal of the run, and modules that the run had not loaded from elsewhere.
pub struct PinnedSources {
    /// The run.
    pub ledger: Arc<Ledger>,
    /// Loads the other modules.
    pub others: Arc<dyn SourceLoader>,
}

impl SourceLoader for PinnedSources {
    fn module(&self, name: &str) -> Result<String, String> {
        self.others.module(name)
    }

    fn pinned(&self, name: &str) -> Option<String> {
        let digest = self.ledger.replay_cursor()?.module(name)?.to_owned();
        self.ledger.journal().source(&digest).ok()?
    }

    fn known_modules(&self) -> Vec<String> {
        self.others.known_modules()
    }
}
