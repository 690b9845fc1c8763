//! The state that the threads of a supervisor share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::world::local::container::record::{Phase, ProcessState, STATE, STOP_REQUESTED};
use crate::world::local::process::ProcessId;
use crate::world::local::state_folder::write_json;

/// State that the threads of a supervisor share.
pub(crate) struct SupervisorState {
    pub(super) folder: PathBuf,
    pub(super) state: Mutex<Option<ProcessState>>,
    /// Whether the supervisor was told to exit.
    pub(super) ending: AtomicBool,
}

impl SupervisorState {
    /// Changes the state and writes it to disk.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ProcessState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_mut() {
            change(state);
            // A full disk must not stop the service; without the write, the file keeps the previous state.
            let _ = write_json(&self.folder.join(STATE), state);
        }
    }

    pub(crate) fn runs(&self, child: &ProcessId) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().is_some_and(|state| state.phase == Phase::Running && state.child.as_ref() == Some(child))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.ending.load(Ordering::SeqCst) || self.folder.join(STOP_REQUESTED).exists()
    }
}
