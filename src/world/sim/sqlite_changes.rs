//! What changes a simulated database, or copies it: backup, restore, seed, and the dry run of a migration.
//!
//! Faults: a database in use, a copy that is damaged or is none, SQL that fails, a migration that ends with a failure.

use std::collections::BTreeMap;

use super::exec::program_of;
use super::objects::SimObject;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use super::sqlite::missing;
use super::sqlite_rows::Database;
use crate::base::object_url::ObjectUrl;
use crate::effect::sqlite::{
    BackUpSqlite, BackedUp, DatabasePlace, DryRun, DryRunMigration, RestoreSqlite, Restored, RowChange, SchemaDiff,
    SeedSqlite, Seeded,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl SimHost {
    pub(super) fn back_up(&mut self, call: &Call, request: &BackUpSqlite) -> Result<BackedUp, EffectError> {
        let database = self.sound_database(&request.place)?.clone();
        let to = match &request.to_volume {
            Some(volume) => {
                if !self.volumes.0.contains_key(volume) {
                    return Err(super::volumes::missing(volume));
                }
                request.inside(&format!("/volumes/{volume}"))?
            }
            None => request.to.clone(),
        };
        let url = if to.is_folder() {
            let name = format!("{}-{}-{}-{}.db", request.place.stem(), self.now(), call.run, call.seq);
            to.join(&name)
        } else {
            to
        };
        let (size, sha256, tables) = (database.size(), database.id(), database.counts());
        let object = SimObject { size, modified_ms: 0, database: Some(database) };
        // A name of its own making is found by nobody but the effect itself, done again.
        self.store(&url, object, request.overwrite || request.to.is_folder())?;
        Ok(BackedUp { url, size, sha256, tables })
    }

    pub(super) fn restore(&mut self, request: &RestoreSqlite) -> Result<Restored, EffectError> {
        let users = self.database_users(&request.place)?;
        if users.in_use {
            let message = format!("database `{}` is in use by {}", request.place, users.names().join(", "));
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint("stop them first: `docker_stop`")
                .not_applied());
        }
        if let Some(id) = &request.put_back {
            return self.put_back(&request.place, id);
        }
        let from = request.from.as_ref().ok_or_else(|| {
            EffectError::new(ErrorKind::Invalid, "`from` is missing: the copy to restore").not_applied()
        })?;
        let copy = self.copy_at(from)?;
        let (tables, size) = (copy.counts(), copy.size());
        let (databases, path) = self.databases_beside(&request.place)?;
        let kept = databases.insert(path.clone(), copy).map(|old| {
            let kept = replaced(&path, &old.id());
            databases.insert(kept.clone(), old);
            kept
        });
        Ok(Restored { kept, tables, size })
    }

    /// The copy at a place of storage, or a database of the host that stands there.
    fn copy_at(&self, from: &ObjectUrl) -> Result<Database, EffectError> {
        let found = self.stored(from)?.and_then(|object| object.database.clone());
        let copy = found.or_else(|| self.databases.get(from.key()).cloned());
        match copy {
            Some(copy) if copy.corrupt => {
                Err(EffectError::new(ErrorKind::DatabaseCorrupt, format!("database `{from}` is damaged")).not_applied())
            }
            Some(copy) => Ok(copy),
            None => Err(EffectError::new(ErrorKind::NotFound, format!("there is no object `{from}`")).not_applied()),
        }
    }

    fn put_back(&mut self, place: &DatabasePlace, id: &str) -> Result<Restored, EffectError> {
        let (databases, path) = self.databases_beside(place)?;
        let nothing = Restored { kept: None, tables: BTreeMap::new(), size: 0 };
        if id.is_empty() {
            databases.remove(&path);
        } else if let Some(old) = databases.remove(&replaced(&path, id)) {
            databases.insert(path, old);
        } else if databases.get(&path).is_none_or(|now| now.id() != id) {
            return Err(missing(place));
        }
        Ok(nothing)
    }

    pub(super) fn seed(&mut self, request: &SeedSqlite) -> Result<Seeded, EffectError> {
        let sql = match (&request.sql, &request.file) {
            (Some(sql), None) => Some(sql.clone()),
            // What is in a file of the host is not known here: the database stays as it is.
            (None, Some(_)) => None,
            _ => return Err(EffectError::new(ErrorKind::Invalid, "give either `sql` or `file`").not_applied()),
        };
        if self.database(&request.place)?.is_some() {
            self.sound_database(&request.place)?;
        }
        let (databases, path) = self.databases_beside(&request.place)?;
        let mut database = databases.get(&path).cloned().unwrap_or_default();
        let before = database.counts();
        if before.values().any(|rows| *rows > 0) {
            return Ok(Seeded { seeded: false, tables: before });
        }
        if let Some(sql) = sql {
            database.run(&sql)?;
        }
        let tables = database.counts();
        databases.insert(path, database);
        Ok(Seeded { seeded: true, tables })
    }

    pub(super) fn dry_run(&mut self, call: &Call, request: &DryRunMigration) -> Result<DryRun, EffectError> {
        let before = self.sound_database(&request.place)?.clone();
        let mut after = before.clone();
        let (mut output, mut elapsed_ms) = (Vec::new(), 0);
        match (&request.image, &request.sql) {
            (Some(image), None) => {
                for value in request.environment.values() {
                    call.vault.reveal(value)?;
                }
                let stored = self.images.find(image).ok_or_else(|| super::images::missing(image))?;
                let line = request.command.join(" ");
                let program = program_of(&stored.behaviour, &line);
                if program.takes_ms > whole_ms(request.timeout.0) {
                    self.pass(whole_ms(request.timeout.0));
                    let message = format!("`{}` was not done with within {}", request.place, request.timeout);
                    return Err(EffectError::new(ErrorKind::Timeout, message));
                }
                self.pass(program.takes_ms);
                output = program.stdout.lines().map(str::to_owned).collect();
                elapsed_ms = program.takes_ms;
                if program.exit_code != 0 {
                    let code = program.exit_code;
                    let message = format!("the migration `{line}` of `{image}` ended with code {code}");
                    return Err(EffectError::new(ErrorKind::Failed, message).detail(program.stderr).not_applied());
                }
                let (volume, path) = self.locate(&request.place)?;
                let key = volume.map_or(path.clone(), |volume| format!("{volume}:{path}"));
                for (table, rows) in program.inserts.get(&key).cloned().unwrap_or_default() {
                    after.tables.entry(table).or_default().extend(rows);
                }
                if let Some(sql) = program.sql.get(&key) {
                    after.run(sql)?;
                }
            }
            (None, Some(sql)) => after.run(sql)?,
            (None, None) if request.file.is_some() => {}
            _ => {
                let message = "give `image` and `command`, or `sql`, or `file`";
                return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
            }
        }
        let diff = SchemaDiff::between(&before.schema_of()?, &after.schema_of()?);
        let (old, new) = (before.counts(), after.counts());
        let count = |counts: &BTreeMap<String, u64>, table: &String| counts.get(table).copied().unwrap_or(0);
        let rows: BTreeMap<String, RowChange> = old
            .keys()
            .chain(new.keys())
            .map(|table| (table.clone(), RowChange { before: count(&old, table), after: count(&new, table) }))
            .filter(|(_, change)| change.before != change.after)
            .collect();
        let destructive = diff.destructive || rows.values().any(|change| change.after < change.before);
        Ok(DryRun { diff, rows, elapsed_ms, destructive, output })
    }
}

fn replaced(path: &str, id: &str) -> String {
    format!("{path}.replaced-{id}")
}
