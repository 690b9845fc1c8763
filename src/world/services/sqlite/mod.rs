//! The effects on SQLite databases. Each operation is in a file of its own.

mod backup;
mod check;
mod connection;
mod context;
mod digest;
mod dry_run;
mod location;
mod query;
mod restore;
pub(crate) mod schema;
mod seed;
mod sql_batch;
mod usage;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::cancellation::{time_limited, with_timeout};
use super::object_storage::connector::StorageConnector;
use crate::base::duration_text::DurationText;
use crate::effect::sqlite::{
    Checked, DatabaseLocation, DiffSchema, Schema, SchemaDiff, SchemaSource, SqliteEffect, SqliteOutcome,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;
use crate::world::engine::Engine;
use crate::world::{Call, World};
use context::SqliteContext;
use location::DatabaseLocator;
use worker::{StopSignal, run_on_thread};

/// Performs the effects on databases.
pub(crate) struct SqliteService {
    context: SqliteContext,
}

impl SqliteService {
    pub(crate) fn new(engine: Arc<dyn Engine>, storage: StorageConnector, clock: Arc<dyn Clock>) -> Self {
        let locator = DatabaseLocator::new(Arc::clone(&engine));
        Self { context: SqliteContext { engine, locator, storage, clock, containers: None } }
    }

    /// Sets the world that runs the containers of dry runs.
    pub(crate) fn with_containers(mut self, containers: Arc<dyn World>) -> Self {
        self.context.containers = Some(containers);
        self
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &SqliteEffect) -> Result<SqliteOutcome, EffectError> {
        let (context, clock) = (&self.context, self.context.clock.as_ref());
        match effect {
            SqliteEffect::Check(request) => {
                let (check, missing_ok) = (request.as_ref().clone(), request.missing_ok);
                let work =
                    move |subject: &str, path: &Path, stop: &StopSignal| check::check(subject, path, &check, stop);
                match self.read(call, &request.location, request.timeout, work).await {
                    Err(error) if missing_ok && error.kind == ErrorKind::NotFound => {
                        Ok(SqliteOutcome::Check(Checked {
                            exists: false,
                            empty: true,
                            tables: BTreeMap::new(),
                            journal_mode: None,
                            size: 0,
                            digest: None,
                        }))
                    }
                    other => other.map(SqliteOutcome::Check),
                }
            }
            SqliteEffect::Query(request) => {
                let query = request.as_ref().clone();
                let work =
                    move |subject: &str, path: &Path, stop: &StopSignal| query::query(subject, path, &query, stop);
                self.read(call, &request.location, request.timeout, work).await.map(SqliteOutcome::Query)
            }
            SqliteEffect::Schema(request) => self
                .read(call, &request.location, request.timeout, schema::read_database_schema)
                .await
                .map(SqliteOutcome::Schema),
            SqliteEffect::SchemaDiff(request) => self.diff_schemas(call, request).await.map(SqliteOutcome::SchemaDiff),
            SqliteEffect::Users(request) => {
                let work = usage::find_users(context, &request.location);
                time_limited(call, clock, &request.location, request.timeout, work).await.map(SqliteOutcome::Users)
            }
            SqliteEffect::BackUp(request) => {
                let work = backup::back_up(context, call, request);
                time_limited(call, clock, &request.location, request.timeout, work).await.map(SqliteOutcome::BackUp)
            }
            SqliteEffect::Restore(request) => {
                let work = restore::restore(context, call, request);
                time_limited(call, clock, &request.location, request.timeout, work).await.map(SqliteOutcome::Restore)
            }
            SqliteEffect::Seed(request) => {
                let work = seed::seed(context, request);
                time_limited(call, clock, &request.location, request.timeout, work).await.map(SqliteOutcome::Seed)
            }
            SqliteEffect::DryRun(request) => {
                let work = dry_run::dry_run(context, call, request);
                time_limited(call, clock, &request.location, request.timeout, work).await.map(SqliteOutcome::DryRun)
            }
        }
    }

    /// Runs work that only reads a database.
    async fn read<T: Send + 'static>(
        &self,
        call: &Call,
        location: &DatabaseLocation,
        timeout: DurationText,
        work: impl FnOnce(&str, &Path, &StopSignal) -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let subject = location.to_string();
        let timed_out = || EffectError::timed_out(&format!("reading `{location}`"), timeout);
        let locator = &self.context.locator;
        with_timeout(call, self.context.clock.as_ref(), timeout.0, timed_out, async {
            let database = locator.open_for_reading(&locator.locate(location).await?).await?;
            run_on_thread(move |stop| work(&subject, &database.path, stop)).await
        })
        .await
        .map_err(EffectError::not_applied)
    }

    async fn diff_schemas(&self, call: &Call, request: &DiffSchema) -> Result<SchemaDiff, EffectError> {
        let schema = async |source: &SchemaSource| -> Result<Schema, EffectError> {
            match (source, source.location()) {
                (SchemaSource::Schema(schema), _) => Ok(schema.clone()),
                (_, Some(location)) => self.read(call, &location, request.timeout, schema::read_database_schema).await,
                (_, None) => Ok(Schema::default()),
            }
        };
        Ok(SchemaDiff::between(&schema(&request.before).await?, &schema(&request.after).await?))
    }
}
