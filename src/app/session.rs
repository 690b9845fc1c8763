//! Opens the run of a session: on the engine, or in a simulated copy of it.

use std::sync::Arc;

use serde_json::json;

use super::{App, dry_world, new_run_id};
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::consent::Consent;
use crate::gateway::ledger::{Ledger, Listener};
use crate::gateway::{Cancel, Gateway};
use crate::journal::memory_journal::MemoryJournal;
use crate::run::session_run::{SESSION, SessionRun};
use crate::script::source::Source;
use crate::world::World;

impl App {
    /// The run of a session on this engine. Without `consent` nobody is asked.
    ///
    /// # Errors
    /// When the machine has no randomness for a run id.
    pub fn session(&self, listener: Listener, consent: Option<Arc<dyn Consent>>) -> Result<SessionRun, EffectError> {
        let run = new_run_id().map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()))?;
        let (clock, vault) = (self.world.clock(), self.vault.clone());
        let ledger = Arc::new(Ledger::new(run, self.journal.clone(), clock.clone(), vault, listener));
        let (world, cancel) = (self.world.clone(), Cancel::default());
        let gateway = match consent {
            Some(consent) => Gateway::asking(world, ledger, cancel, consent),
            None => Gateway::new(world, ledger, cancel, None),
        };
        gateway.wait_for_locks(self.lock_wait);
        let header = self.header(SESSION, Source::new(SESSION, "").digest(), json!({}));
        Ok(SessionRun { gateway: Arc::new(gateway), clock, header })
    }

    /// This app with its engine and its journal replaced by copies in memory: whatever is done there, nothing is done.
    ///
    /// # Errors
    /// What the engine says when it is looked at.
    pub async fn dry(&self) -> Result<Self, EffectError> {
        Ok(Self {
            world: Arc::new(dry_world::dry_world(self.world.as_ref()).await?) as Arc<dyn World>,
            address: self.address.clone(),
            journal: Arc::new(MemoryJournal::default()),
            vault: self.vault.clone(),
            holder: self.holder.clone(),
            state: self.state.clone(),
            engine_flags: self.engine_flags.clone(),
            state_flags: self.state_flags.clone(),
            lock_wait: self.lock_wait,
        })
    }
}
