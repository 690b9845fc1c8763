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

/// Containers of the simulated copy have booted after this time.
const BOOTED: Duration = Duration::from_secs(10);

impl App {
    /// Creates the run of a session on this engine. Without `consent` it asks for no confirmation.
    ///
    /// # Errors
    /// When the operating system provides no randomness for a run id.
    pub fn session(&self, listener: Listener, consent: Option<Arc<dyn Consent>>) -> Result<SessionRun, EffectError> {
        let run = new_run_id().map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()))?;
        let header = self.header(SESSION, Source::new(SESSION, "").digest().to_owned(), json!({}));
        Ok(self.session_of(self.ledger(run, listener), header, consent))
    }

    /// Creates the run of an interrupted session, to continue it.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn reopened_session(
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

    /// Returns this app with a simulated copy of its engine and a journal in memory. Nothing real is changed.
    ///
    /// # Errors
    /// Returns the error of the engine when it is read.
    pub async fn simulated(&self) -> Result<Self, EffectError> {
        let copy = self.copy().await?;
        Ok(self.with_world(Arc::new(copy)))
    }

    /// Returns this app as a plan sees it: the same as [`App::simulated`], but reads are real as long as no assumed
    /// change affects them.
    ///
    /// # Errors
    /// Returns the error of the engine when it is read.
    pub async fn for_plan(&self) -> Result<Self, EffectError> {
        let copy = Arc::new(self.copy().await?);
        Ok(self.with_world(Arc::new(PlanWorld::new(self.world.clone(), copy))))
    }

    async fn copy(&self) -> Result<SimWorld, EffectError> {
        let call = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), Arc::new(Vault::empty()));
        let copy = SimWorld::new(copy_host(self.world.as_ref(), &call).await?)?;
        copy.clock().sleep(BOOTED).await;
        Ok(copy)
    }

    fn with_world(&self, world: Arc<dyn World>) -> Self {
        Self {
            world,
            address: self.address.clone(),
            engine_id: self.engine_id.clone(),
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
