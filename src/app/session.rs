//! Opens the run of a session: on the engine, or in a simulated copy of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{App, new_run_id};
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::consent::Consent;
use crate::gateway::ledger::{Ledger, Listener};
use crate::gateway::{Cancel, Gateway};
use crate::journal::JournalError;
use crate::journal::entry::RunHeader;
use crate::journal::memory_journal::MemoryJournal;
use crate::plan::plan_world::PlanWorld;
use crate::run::session_run::{SESSION, SessionRun};
use crate::script::source::Source;
use crate::world::sim::{SimWorld, copy_host};
use crate::world::{Call, World};

/// After that long whatever runs has booted: what is copied has run for a while.
const BOOTED: Duration = Duration::from_secs(10);

impl App {
    /// The run of a session on this engine. Without `consent` nobody is asked.
    ///
    /// # Errors
    /// When the machine has no randomness for a run id.
    pub fn session(&self, listener: Listener, consent: Option<Arc<dyn Consent>>) -> Result<SessionRun, EffectError> {
        let run = new_run_id().map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()))?;
        let header = self.header(SESSION, Source::new(SESSION, "").digest().to_owned(), json!({}));
        Ok(self.session_of(self.ledger(run, listener), header, consent))
    }

    /// The run of a session that was killed, to be gone on with.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn session_again(
        &self,
        run: RunId,
        header: RunHeader,
        listener: Listener,
        consent: Option<Arc<dyn Consent>>,
    ) -> Result<SessionRun, JournalError> {
        Ok(self.session_of(self.ledger(run, listener).reopen()?, header, consent))
    }

    fn ledger(&self, run: RunId, listener: Listener) -> Ledger {
        Ledger::new(run, self.journal.clone(), self.world.clock(), self.vault.clone(), listener)
    }

    fn session_of(&self, ledger: Ledger, header: RunHeader, consent: Option<Arc<dyn Consent>>) -> SessionRun {
        let (world, ledger, cancel) = (self.world.clone(), Arc::new(ledger), Cancel::default());
        let gateway = match consent {
            Some(consent) => Gateway::asking(world, ledger, cancel, consent),
            None => Gateway::new(world, ledger, cancel, None),
        };
        gateway.wait_for_locks(self.lock_wait);
        SessionRun { gateway: Arc::new(gateway), clock: self.world.clock(), header }
    }

    /// This app with its engine and its journal replaced by copies in memory: whatever is done there, nothing is done.
    ///
    /// # Errors
    /// What the engine says when it is looked at.
    pub async fn dry(&self) -> Result<Self, EffectError> {
        let copy = self.copy().await?;
        Ok(self.with_world(Arc::new(copy)))
    }

    /// The same, where what nothing was assumed of is still asked of the engine itself: what a plan is made in.
    ///
    /// # Errors
    /// What the engine says when it is looked at.
    pub async fn rehearsal(&self) -> Result<Self, EffectError> {
        let copy = Arc::new(self.copy().await?);
        Ok(self.with_world(Arc::new(PlanWorld::new(self.world.clone(), copy))))
    }

    async fn copy(&self) -> Result<SimWorld, EffectError> {
        let nobody = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), Arc::new(Vault::empty()));
        let copy = SimWorld::new(copy_host(self.world.as_ref(), &nobody).await?)?;
        copy.clock().sleep(BOOTED).await;
        Ok(copy)
    }

    fn with_world(&self, world: Arc<dyn World>) -> Self {
        Self {
            world,
            address: self.address.clone(),
            journal: Arc::new(MemoryJournal::default()),
            vault: self.vault.clone(),
            holder: self.holder.clone(),
            state: self.state.clone(),
            engine_flags: self.engine_flags.clone(),
            state_flags: self.state_flags.clone(),
            lock_wait: self.lock_wait,
        }
    }
}
