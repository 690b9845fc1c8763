//! Backs up, restores and seeds simulated databases.
//!
//! Faults: a database in use, a backup that is damaged or missing, SQL that fails.

use std::collections::BTreeMap;

use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::effect::object::object_not_found;
use crate::effect::sqlite::{
    BackUpSqlite, BackedUp, DatabaseLocation, RestoreSqlite, Restored, SeedSqlite, Seeded, SqlSource, database_damaged,
};
use crate::effect::volume::volume_not_found;
use crate::world::Call;
use crate::world::sim::model::database::SimDatabase;
use crate::world::sim::model::storage::SimObject;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn back_up(&mut self, call: &Call, request: &BackUpSqlite) -> Result<BackedUp, EffectError> {
        let database = self.intact_database(&request.location)?.clone();
        let to = match &request.to_volume {
            Some(volume) => {
                if !self.volumes.0.contains_key(volume) {
                    return Err(volume_not_found(volume));
                }
                request.address_in_volume(&format!("/volumes/{volume}"))?
            }
            None => request.to.clone(),
        };
        let url = if to.is_folder() {
            let name = format!("{}-{}-{}-{}.db", request.name_in_folder()?, self.now(), call.run, call.seq);
            to.join(&name)
        } else {
            to
        };
        let (size, sha256, tables) = (database.size(), database.id(), database.counts());
        let object = SimObject { size, modified_ms: 0, database: Some(database) };
        // A generated name can exist only if this effect ran before.
        self.store(&url, object, request.overwrite || request.to.is_folder())?;
        Ok(BackedUp { url, size, sha256, tables })
    }

    pub(crate) fn restore(&mut self, request: &RestoreSqlite) -> Result<Restored, EffectError> {
        self.database_users(&request.location)?.refuse_in_use(&request.location)?;
        if let Some(id) = &request.put_back {
            return self.put_back(&request.location, id);
        }
        let copy = self.copy_at(request.required_source()?)?;
        let (tables, size) = (copy.counts(), copy.size());
        let (databases, path) = self.databases_at(&request.location)?;
        let kept = databases.insert(path.clone(), copy).map(|old| {
            let kept = replaced(&path, &old.id());
            databases.insert(kept.clone(), old);
            kept
        });
        Ok(Restored { kept, tables, size })
    }

    /// Returns the backup at an address, or a database file of the host at that path.
    fn copy_at(&self, from: &ObjectUrl) -> Result<SimDatabase, EffectError> {
        let found = self.stored(from)?.and_then(|object| object.database.clone());
        let copy = found.or_else(|| self.databases.get(from.key()).cloned());
        match copy {
            Some(copy) if copy.corrupt => Err(database_damaged(from)),
            Some(copy) => Ok(copy),
            None => Err(object_not_found(from)),
        }
    }

    fn put_back(&mut self, location: &DatabaseLocation, id: &str) -> Result<Restored, EffectError> {
        let (databases, path) = self.databases_at(location)?;
        let nothing = Restored { kept: None, tables: BTreeMap::new(), size: 0 };
        if id.is_empty() {
            databases.remove(&path);
        } else if let Some(old) = databases.remove(&replaced(&path, id)) {
            databases.insert(path, old);
        } else if databases.get(&path).is_none_or(|now| now.id() != id) {
            return Err(location.not_found());
        }
        Ok(nothing)
    }

    pub(crate) fn seed(&mut self, request: &SeedSqlite) -> Result<Seeded, EffectError> {
        let sql = match SqlSource::new(request.sql.as_ref(), request.file.as_ref())? {
            SqlSource::Sql(sql) => Some(sql),
            // The content of a host file is unknown here, so the database stays as it is.
            SqlSource::File(_) => None,
        };
        if self.database(&request.location)?.is_some() {
            self.intact_database(&request.location)?;
        }
        let (databases, path) = self.databases_at(&request.location)?;
        let mut database = databases.get(&path).cloned().unwrap_or_default();
        let before = database.counts();
        if before.values().any(|rows| *rows > 0) {
            return Ok(Seeded { seeded: false, tables: before });
        }
        if let Some(sql) = sql {
            database.run(sql)?;
        }
        let tables = database.counts();
        databases.insert(path, database);
        Ok(Seeded { seeded: true, tables })
    }
}

fn replaced(path: &str, id: &str) -> String {
    format!("{path}.replaced-{id}")
}
