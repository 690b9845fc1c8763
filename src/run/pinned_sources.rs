//! The modules that a run had loaded, as they were: whoever goes on with it runs the very same texts.

use std::sync::Arc;

use crate::gateway::ledger::Ledger;
use crate::script::source::SourceLoader;

/// What the journal kept first; what was not loaded yet comes from where the script is.
pub struct PinnedSources {
    pub ledger: Arc<Ledger>,
    pub others: Arc<dyn SourceLoader>,
}

impl SourceLoader for PinnedSources {
    fn module(&self, name: &str) -> Result<String, String> {
        self.others.module(name)
    }

    fn pinned(&self, name: &str) -> Option<String> {
        let digest = self.ledger.past()?.module(name)?.to_owned();
        self.ledger.journal().source(&digest).ok()?
    }

    fn known_modules(&self) -> Vec<String> {
        self.others.known_modules()
    }
}
