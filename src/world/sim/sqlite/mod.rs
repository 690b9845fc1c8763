//! Effects on simulated SQLite databases: locating a database, and reads.
//!
//! Faults: a missing or damaged database, broken foreign keys, SQL that is invalid or would write, too many rows.

mod backup;
mod dry_run;

use std::collections::BTreeMap;
use std::path::Path;

use super::model::database::{DatabaseRows, Row, SimDatabase};
use super::sim_host::SimHost;
use crate::base::mount::Mount;
use crate::effect::EffectError;
use crate::effect::sqlite::{
    Checked, DatabaseLocation, DatabaseUsers, DiffSchema, MountUser, Schema, SchemaDiff, SchemaSource, SqliteEffect,
    SqliteOutcome,
};
use crate::effect::volume::volume_not_found;
use crate::world::Call;

impl SimHost {
    pub(crate) fn sqlite(&mut self, call: &Call, effect: &SqliteEffect) -> Result<SqliteOutcome, EffectError> {
        match effect {
            SqliteEffect::Check(request) => {
                let Some(database) = self.database(&request.location)? else {
                    if request.missing_ok {
                        let tables = BTreeMap::new();
                        let nothing =
                            Checked { exists: false, empty: true, tables, journal_mode: None, size: 0, digest: None };
                        return Ok(SqliteOutcome::Check(nothing));
                    }
                    return Err(request.location.not_found());
                };
                if database.corrupt || (request.foreign_keys && database.orphans) {
                    return Err(request.location.damaged());
                }
                let tables = database.counts();
                Ok(SqliteOutcome::Check(Checked {
                    exists: true,
                    empty: tables.values().all(|rows| *rows == 0),
                    size: database.size(),
                    tables,
                    journal_mode: Some("wal".into()),
                    digest: request.digest.then(|| database.id()),
                }))
            }
            SqliteEffect::Query(request) => {
                self.intact_database(&request.location)?.query(request).map(SqliteOutcome::Query)
            }
            SqliteEffect::Schema(request) => {
                self.intact_database(&request.location)?.schema_of().map(SqliteOutcome::Schema)
            }
            SqliteEffect::SchemaDiff(request) => self.diff_schemas(request).map(SqliteOutcome::SchemaDiff),
            SqliteEffect::Users(request) => self.database_users(&request.location).map(SqliteOutcome::Users),
            SqliteEffect::BackUp(request) => self.back_up(call, request).map(SqliteOutcome::BackUp),
            SqliteEffect::Restore(request) => self.restore(request).map(SqliteOutcome::Restore),
            SqliteEffect::Seed(request) => self.seed(request).map(SqliteOutcome::Seed),
            SqliteEffect::DryRun(request) => self.dry_run(call, request).map(SqliteOutcome::DryRun),
        }
    }

    fn diff_schemas(&self, request: &DiffSchema) -> Result<SchemaDiff, EffectError> {
        let schema = |source: &SchemaSource| -> Result<Schema, EffectError> {
            match (source, source.location()) {
                (SchemaSource::Schema(schema), _) => Ok(schema.clone()),
                (_, Some(location)) => self.intact_database(&location)?.schema_of(),
                (_, None) => Ok(Schema::default()),
            }
        };
        Ok(SchemaDiff::between(&schema(&request.before)?, &schema(&request.after)?))
    }

    /// Returns the volume (`None` for the host) and the path, resolved as in the real worlds.
    pub(crate) fn locate(&self, location: &DatabaseLocation) -> Result<(Option<String>, String), EffectError> {
        location.validate()?;
        let Some(container) = &location.container else {
            return Ok(match &location.volume {
                Some(volume) => (Some(volume.clone()), location.path.trim_start_matches('/').to_owned()),
                None => (None, location.path.clone()),
            });
        };
        let container = self.find(container)?;
        let inside = Path::new(&location.path);
        let holding = |mount: &&Mount| inside.starts_with(&mount.target);
        let mount = container.spec.volumes.iter().filter(holding).max_by_key(|mount| mount.target.len());
        let mount = mount.ok_or_else(|| location.not_on_volume("sim"))?;
        let rest = inside.strip_prefix(&mount.target).unwrap_or(Path::new(""));
        if mount.is_volume() {
            return Ok((Some(mount.source.clone()), rest.display().to_string()));
        }
        Ok((None, Path::new(&mount.source).join(rest).display().to_string()))
    }

    pub(crate) fn database(&self, location: &DatabaseLocation) -> Result<Option<&SimDatabase>, EffectError> {
        let (volume, path) = self.locate(location)?;
        let Some(name) = volume else { return Ok(self.databases.get(&path)) };
        let volume = self.volumes.0.get(&name).ok_or_else(|| volume_not_found(&name))?;
        Ok(volume.databases.get(&path))
    }

    pub(crate) fn intact_database(&self, location: &DatabaseLocation) -> Result<&SimDatabase, EffectError> {
        let database = self.database(location)?.ok_or_else(|| location.not_found())?;
        if database.corrupt { Err(location.damaged()) } else { Ok(database) }
    }

    /// Returns the databases stored with this one, and its path, for a change.
    pub(crate) fn databases_at(
        &mut self,
        location: &DatabaseLocation,
    ) -> Result<(&mut BTreeMap<String, SimDatabase>, String), EffectError> {
        let (volume, path) = self.locate(location)?;
        let Some(name) = volume else { return Ok((&mut self.databases, path)) };
        let volume = self.volumes.0.get_mut(&name).ok_or_else(|| volume_not_found(&name))?;
        Ok((&mut volume.databases, path))
    }

    /// Returns the containers that mount the database. A running container is assumed to have it open.
    pub(crate) fn database_users(&self, location: &DatabaseLocation) -> Result<DatabaseUsers, EffectError> {
        let (volume, path) = self.locate(location)?;
        let holds = |mount: &Mount| match &volume {
            Some(volume) => mount.is_volume() && mount.source == *volume,
            None => !mount.is_volume() && Path::new(&path).starts_with(&mount.source),
        };
        let containers: Vec<MountUser> = self
            .containers
            .all()
            .filter(|container| container.spec.volumes.iter().any(holds))
            .map(|container| MountUser {
                name: container.name().to_owned(),
                id: container.id.clone(),
                running: container.is_running(),
                read_only: container.spec.volumes.iter().filter(|mount| holds(mount)).all(|mount| mount.read_only),
            })
            .collect();
        let in_use = containers.iter().any(|user| user.running && !user.read_only);
        let id = self.database(location)?.map(SimDatabase::id);
        Ok(DatabaseUsers { id, in_use, containers, ..DatabaseUsers::default() })
    }

    /// Adds rows to the database at `VOLUME:PATH`, or at a host path; creates what is missing.
    pub(crate) fn insert(&mut self, location: &str, tables: BTreeMap<String, Vec<Row>>) {
        let database = self.database_at(location);
        for (table, rows) in tables {
            database.tables.entry(table).or_default().extend(rows);
        }
    }

    /// Runs statements on the database at `VOLUME:PATH`, or at a host path; creates what is missing.
    pub(crate) fn run_sql(&mut self, location: &str, sql: &str) -> Result<(), EffectError> {
        self.database_at(location).run(sql)
    }

    fn database_at(&mut self, location: &str) -> &mut SimDatabase {
        let Some((volume, path)) = location.split_once(':') else {
            return self.databases.entry(location.into()).or_default();
        };
        self.volumes.0.entry(volume.into()).or_default().databases.entry(path.into()).or_default()
    }

    /// Returns the rows of all databases.
    pub(crate) fn database_rows(&self) -> DatabaseRows {
        let in_volumes = self.volumes.0.iter().flat_map(|(volume, held)| {
            held.databases.iter().map(move |(path, database)| (format!("{volume}:{path}"), database))
        });
        let outside = self.databases.iter().map(|(path, database)| (path.clone(), database));
        let tables = in_volumes.chain(outside).flat_map(|(location, database)| {
            database.tables.iter().map(move |(table, rows)| ((location.clone(), table.clone()), rows))
        });
        tables.map(|(key, rows)| (key, rows.clone())).collect()
    }
}
