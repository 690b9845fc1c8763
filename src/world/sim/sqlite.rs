//! The SQLite family of the simulated world: where a database is, and what only reads it.
//!
//! Faults: no such database, a damaged one, broken foreign keys, SQL that is wrong or that would write, too many rows.

use std::collections::BTreeMap;
use std::path::Path;

use super::sim_host::SimHost;
use super::sqlite_rows::{Database, Row};
use crate::base::mount::Mount;
use crate::effect::sqlite::{
    Checked, DatabasePlace, DatabaseUsers, DiffSchema, MountUser, Schema, SchemaDiff, SchemaSource, SqliteEffect,
    SqliteOutcome,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl SimHost {
    pub(super) fn sqlite(&mut self, call: &Call, effect: &SqliteEffect) -> Result<SqliteOutcome, EffectError> {
        match effect {
            SqliteEffect::Check(request) => {
                let Some(database) = self.database(&request.place)? else {
                    if request.missing_ok {
                        let tables = BTreeMap::new();
                        let nothing =
                            Checked { exists: false, empty: true, tables, journal_mode: None, size: 0, digest: None };
                        return Ok(SqliteOutcome::Check(nothing));
                    }
                    return Err(missing(&request.place));
                };
                if database.corrupt || (request.foreign_keys && database.orphans) {
                    return Err(damaged(&request.place));
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
                self.sound_database(&request.place)?.query(request).map(SqliteOutcome::Query)
            }
            SqliteEffect::Schema(request) => {
                self.sound_database(&request.place)?.schema_of().map(SqliteOutcome::Schema)
            }
            SqliteEffect::SchemaDiff(request) => self.diff_schemas(request).map(SqliteOutcome::SchemaDiff),
            SqliteEffect::Users(request) => self.database_users(&request.place).map(SqliteOutcome::Users),
            SqliteEffect::BackUp(request) => self.back_up(call, request).map(SqliteOutcome::BackUp),
            SqliteEffect::Restore(request) => self.restore(request).map(SqliteOutcome::Restore),
            SqliteEffect::Seed(request) => self.seed(request).map(SqliteOutcome::Seed),
            SqliteEffect::DryRun(request) => self.dry_run(call, request).map(SqliteOutcome::DryRun),
        }
    }

    fn diff_schemas(&self, request: &DiffSchema) -> Result<SchemaDiff, EffectError> {
        let schema = |source: &SchemaSource| -> Result<Schema, EffectError> {
            match (source, source.place()) {
                (SchemaSource::Schema(schema), _) => Ok(schema.clone()),
                (_, Some(place)) => self.sound_database(&place)?.schema_of(),
                (_, None) => Ok(Schema::default()),
            }
        };
        Ok(SchemaDiff::between(&schema(&request.before)?, &schema(&request.after)?))
    }

    /// Volume (none for the host) and path, as the real worlds find them.
    pub(super) fn locate(&self, place: &DatabasePlace) -> Result<(Option<String>, String), EffectError> {
        let Some(container) = &place.container else {
            return Ok(match &place.volume {
                Some(volume) => (Some(volume.clone()), place.path.trim_start_matches('/').to_owned()),
                None => (None, place.path.clone()),
            });
        };
        let container = self.find(container)?;
        let inside = Path::new(&place.path);
        let holding = |mount: &&Mount| inside.starts_with(&mount.target);
        let mount = container.spec.volumes.iter().filter(holding).max_by_key(|mount| mount.target.len());
        let mount = mount.ok_or_else(|| {
            EffectError::unsupported(format!("reading `{}` among a container's own files", place.path), "sim")
        })?;
        let rest = inside.strip_prefix(&mount.target).unwrap_or(Path::new(""));
        if mount.is_volume() {
            return Ok((Some(mount.source.clone()), rest.display().to_string()));
        }
        Ok((None, Path::new(&mount.source).join(rest).display().to_string()))
    }

    pub(super) fn database(&self, place: &DatabasePlace) -> Result<Option<&Database>, EffectError> {
        let (volume, path) = self.locate(place)?;
        let Some(name) = volume else { return Ok(self.databases.get(&path)) };
        let volume = self.volumes.0.get(&name).ok_or_else(|| super::volumes::missing(&name))?;
        Ok(volume.databases.get(&path))
    }

    pub(super) fn sound_database(&self, place: &DatabasePlace) -> Result<&Database, EffectError> {
        let database = self.database(place)?.ok_or_else(|| missing(place))?;
        if database.corrupt { Err(damaged(place)) } else { Ok(database) }
    }

    /// The databases beside this one, to be changed.
    pub(super) fn databases_beside(
        &mut self,
        place: &DatabasePlace,
    ) -> Result<(&mut BTreeMap<String, Database>, String), EffectError> {
        let (volume, path) = self.locate(place)?;
        let Some(name) = volume else { return Ok((&mut self.databases, path)) };
        let volume = self.volumes.0.get_mut(&name).ok_or_else(|| super::volumes::missing(&name))?;
        Ok((&mut volume.databases, path))
    }

    /// Who has the database on a mount. A running container is taken to have it open.
    pub(super) fn database_users(&self, place: &DatabasePlace) -> Result<DatabaseUsers, EffectError> {
        let (volume, path) = self.locate(place)?;
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
        let id = self.database(place)?.map(Database::id);
        Ok(DatabaseUsers { id, in_use, containers, processes: Vec::new() })
    }

    /// Adds rows to the database at `VOLUME:PATH`, or at a path of the host; makes what is missing.
    pub(super) fn insert(&mut self, place: &str, tables: BTreeMap<String, Vec<Row>>) {
        let database = self.database_at(place);
        for (table, rows) in tables {
            database.tables.entry(table).or_default().extend(rows);
        }
    }

    /// Runs statements on the database at `VOLUME:PATH`, or at a path of the host; makes what is missing.
    pub(super) fn run_sql(&mut self, place: &str, sql: &str) -> Result<(), EffectError> {
        self.database_at(place).run(sql)
    }

    fn database_at(&mut self, place: &str) -> &mut Database {
        let Some((volume, path)) = place.split_once(':') else {
            return self.databases.entry(place.into()).or_default();
        };
        self.volumes.0.entry(volume.into()).or_default().databases.entry(path.into()).or_default()
    }
}

pub(super) fn missing(place: &DatabasePlace) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("database `{place}` does not exist")).not_applied()
}

pub(super) fn damaged(place: &DatabasePlace) -> EffectError {
    EffectError::new(ErrorKind::DatabaseCorrupt, format!("database `{place}` is damaged"))
        .hint("restore it from a backup")
        .not_applied()
}
