//! `sqlite_check` and `sqlite_query`: finds the file and keeps the time. Only reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::InterruptHandle;

use super::Services;
use super::wait::{lost_thread, within};
use super::{sqlite_check, sqlite_query};
use crate::base::duration_text::DurationText;
use crate::effect::sqlite::{Checked, SqliteEffect, SqliteOutcome};
use crate::effect::{EffectError, ErrorKind, Facts};
use crate::world::Call;
use crate::world::engine::VolumeFile;

/// Where a database is on this machine.
struct Place {
    path: PathBuf,
    /// Keeps the copy of a volume that cannot be reached in place.
    _copy: Option<VolumeFile>,
}

impl Services {
    pub(super) async fn sqlite(&self, call: &Call, effect: &SqliteEffect) -> Result<SqliteOutcome, EffectError> {
        match effect {
            SqliteEffect::Check(request) => {
                let (subject, timeout) = (request.subject(), request.timeout.0);
                let request = request.clone();
                let checked = self.reading_sqlite(
                    call,
                    subject,
                    timeout,
                    (request.volume.clone(), request.path.clone()),
                    move |subject, path, stop| sqlite_check::check(subject, path, &request, stop),
                );
                let missing_ok = matches!(effect, SqliteEffect::Check(request) if request.missing_ok);
                match checked.await {
                    Err(error) if missing_ok && error.kind == ErrorKind::NotFound => {
                        Ok(SqliteOutcome::Check(Checked {
                            exists: false,
                            empty: true,
                            tables: std::collections::BTreeMap::new(),
                            journal_mode: None,
                            size: 0,
                        }))
                    }
                    other => other.map(SqliteOutcome::Check),
                }
            }
            SqliteEffect::Query(request) => {
                let (subject, timeout) = (request.subject(), request.timeout.0);
                let request = request.clone();
                let rows = self.reading_sqlite(
                    call,
                    subject,
                    timeout,
                    (request.volume.clone(), request.path.clone()),
                    move |subject, path, stop| sqlite_query::query(subject, path, &request, stop),
                );
                rows.await.map(SqliteOutcome::Query)
            }
        }
    }

    /// Runs the work on a thread of its own; interrupts it when nobody waits for it any more.
    async fn reading_sqlite<T: Send + 'static>(
        &self,
        call: &Call,
        subject: String,
        timeout: Duration,
        (volume, path): (Option<String>, String),
        work: impl FnOnce(&str, &Path, &Stop) -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let stop = StopOnDrop(Arc::default());
        let shared = Arc::clone(&stop.0);
        let late = || {
            let timeout = DurationText(timeout);
            EffectError::new(ErrorKind::Timeout, format!("reading `{subject}` took longer than {timeout}"))
        };
        let named = subject.clone();
        within(call, self.clock.as_ref(), timeout, late, async {
            let place = self.place(volume.as_deref(), &path).await?;
            tokio::task::spawn_blocking(move || work(&named, &place.path, &shared))
                .await
                .unwrap_or_else(|error| Err(lost_thread(&error)))
        })
        .await
        .map_err(EffectError::not_applied)
    }

    async fn place(&self, volume: Option<&str>, path: &str) -> Result<Place, EffectError> {
        match volume {
            None => Ok(Place { path: path.into(), _copy: None }),
            Some(volume) => {
                let file = self.engine.volume_file(volume, path).await?;
                Ok(Place { path: file.path().to_owned(), _copy: Some(file) })
            }
        }
    }
}

/// Tells the thread that reads a database to stop.
#[derive(Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    handle: Mutex<Option<InterruptHandle>>,
}

impl Stop {
    /// From now on the connection's statements end when they should.
    pub(super) fn watches(&self, connection: &rusqlite::Connection) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.get_interrupt_handle());
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Some(handle) = &*self.handle.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

struct StopOnDrop(Arc<Stop>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.ask();
    }
}
