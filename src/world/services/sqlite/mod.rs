//! The SQLite family: finds the file and keeps the time. What is done to a database is in the files beside this one.

mod backup;
mod check;
mod digest;
mod dry_run;
mod file;
mod place;
mod query;
mod restore;
mod schema;
mod seed;
mod statements;
mod thread;
mod users;

use std::collections::BTreeMap;
use std::path::Path;

use super::Services;
use super::wait::within;
use crate::base::duration_text::DurationText;
use crate::effect::sqlite::{
    Checked, DatabasePlace, DiffSchema, Schema, SchemaDiff, SchemaSource, SqliteEffect, SqliteOutcome,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
pub(in crate::world) use schema::of as sqlite_schema;
use thread::{Stop, on_thread};

/// Rows by table.
type Rows = BTreeMap<String, u64>;

impl Services {
    pub(super) async fn sqlite(&self, call: &Call, effect: &SqliteEffect) -> Result<SqliteOutcome, EffectError> {
        match effect {
            SqliteEffect::Check(request) => {
                let (asked, missing_ok) = (request.as_ref().clone(), request.missing_ok);
                let work = move |subject: &str, path: &Path, stop: &Stop| check::check(subject, path, &asked, stop);
                match self.reading(call, &request.place, request.timeout, work).await {
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
                let asked = request.as_ref().clone();
                let work = move |subject: &str, path: &Path, stop: &Stop| query::query(subject, path, &asked, stop);
                self.reading(call, &request.place, request.timeout, work).await.map(SqliteOutcome::Query)
            }
            SqliteEffect::Schema(request) => {
                self.reading(call, &request.place, request.timeout, schema::read).await.map(SqliteOutcome::Schema)
            }
            SqliteEffect::SchemaDiff(request) => self.diff_schemas(call, request).await.map(SqliteOutcome::SchemaDiff),
            SqliteEffect::Users(request) => {
                let work = self.find_users(&request.place);
                self.timely(call, &request.place, request.timeout, work).await.map(SqliteOutcome::Users)
            }
            SqliteEffect::BackUp(request) => {
                let work = self.back_up(call, request);
                self.timely(call, &request.place, request.timeout, work).await.map(SqliteOutcome::BackUp)
            }
            SqliteEffect::Restore(request) => {
                let work = self.restore(call, request);
                self.timely(call, &request.place, request.timeout, work).await.map(SqliteOutcome::Restore)
            }
            SqliteEffect::Seed(request) => {
                let work = self.seed(request);
                self.timely(call, &request.place, request.timeout, work).await.map(SqliteOutcome::Seed)
            }
            SqliteEffect::DryRun(request) => {
                let work = self.dry_run(call, request);
                self.timely(call, &request.place, request.timeout, work).await.map(SqliteOutcome::DryRun)
            }
        }
    }

    /// Runs work that only reads a database.
    async fn reading<T: Send + 'static>(
        &self,
        call: &Call,
        place: &DatabasePlace,
        timeout: DurationText,
        work: impl FnOnce(&str, &Path, &Stop) -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let subject = place.to_string();
        let late = || EffectError::new(ErrorKind::Timeout, format!("reading `{place}` took longer than {timeout}"));
        within(call, self.clock.as_ref(), timeout.0, late, async {
            let reached = self.reach(&self.locate(place).await?).await?;
            on_thread(move |stop| work(&subject, &reached.path, stop)).await
        })
        .await
        .map_err(EffectError::not_applied)
    }

    async fn diff_schemas(&self, call: &Call, request: &DiffSchema) -> Result<SchemaDiff, EffectError> {
        let schema = async |source: &SchemaSource| -> Result<Schema, EffectError> {
            match (source, source.place()) {
                (SchemaSource::Schema(schema), _) => Ok(schema.clone()),
                (_, Some(place)) => self.reading(call, &place, request.timeout, schema::read).await,
                (_, None) => Ok(Schema::default()),
            }
        };
        Ok(SchemaDiff::between(&schema(&request.before).await?, &schema(&request.after).await?))
    }
}
