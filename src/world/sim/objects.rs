//! Storage of the simulated world: files of the host and objects in buckets, by address. Knows nothing of what is in
//! them but a database's rows.
//!
//! Faults: no such object, a name that is taken, storage that does not answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sim_host::SimHost;
use super::sqlite_rows::Database;
use crate::base::log_url::LogUrl;
use crate::base::object_url::ObjectUrl;
use crate::effect::container::Removed;
use crate::effect::object::{ArchiveContainer, Archived, FACTS, Object, ObjectEffect, ObjectOutcome, Pruned, Stored};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// What is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    /// By address. A file of the host that is not listed is taken to be there when it is read, and to be small.
    pub stored: BTreeMap<ObjectUrl, SimObject>,
    /// Log streams of CloudWatch, with the bytes of their logs.
    pub streams: BTreeMap<LogUrl, u64>,
    /// Whether buckets and log groups do not answer.
    pub down: bool,
}

/// One file or object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimObject {
    pub size: u64,
    pub modified_ms: i64,
    /// What a copy of a database holds.
    pub database: Option<Database>,
}

/// Of a file that nobody described.
const SMALL: u64 = 1024;

impl SimHost {
    pub(super) fn object(&mut self, call: &Call, effect: &ObjectEffect) -> Result<ObjectOutcome, EffectError> {
        match effect {
            ObjectEffect::Put(request) => {
                let file = ObjectUrl::File { path: request.path.clone() };
                let object = self.stored(&file)?.cloned();
                let object = object.unwrap_or(SimObject { size: SMALL, ..SimObject::default() });
                self.transfer(request.target(), object, request.overwrite).map(ObjectOutcome::Put)
            }
            ObjectEffect::Get(request) => {
                let object = self.stored(&request.url)?.cloned().ok_or_else(|| missing(&request.url))?;
                let file = ObjectUrl::File { path: request.path.clone() };
                let stored = self.transfer(file, object, request.overwrite)?;
                Ok(ObjectOutcome::Get(Stored { url: request.url.clone(), ..stored }))
            }
            ObjectEffect::List(request) => {
                let mut found = self.listed(&request.prefix)?;
                found.truncate(request.limit);
                Ok(ObjectOutcome::List(found))
            }
            ObjectEffect::Delete(request) => {
                self.reach_storage(&request.url)?;
                let removed = self.objects.stored.remove(&request.url).is_some();
                if !removed && !request.missing_ok {
                    return Err(missing(&request.url));
                }
                Ok(ObjectOutcome::Delete(Removed { removed }))
            }
            ObjectEffect::Archive(request) => self.archive(call, request).map(ObjectOutcome::Archive),
            ObjectEffect::Prune(request) => {
                let all = self.listed(&request.prefix)?;
                let folder = request.prefix.folder();
                let count = all.iter().filter(|object| object.url.folder() == folder).count();
                let deleted: Vec<ObjectUrl> =
                    request.surplus(all, self.clock.unix_ms()).into_iter().map(|object| object.url).collect();
                for url in &deleted {
                    self.objects.stored.remove(url);
                }
                Ok(ObjectOutcome::Prune(Pruned { kept: count - deleted.len(), deleted }))
            }
        }
    }

    fn archive(&mut self, call: &Call, request: &ArchiveContainer) -> Result<Archived, EffectError> {
        let container = self.find(&request.container)?;
        let size = container.tail(u64::MAX).iter().map(|line| line.len() as u64 + 1).sum();
        let to = match &request.to {
            LogUrl::Object(to) => to,
            LogUrl::CloudWatch { group, stream } => {
                let stream = match stream.as_str() {
                    "" => format!("{}-{}-{}", container.name(), call.run, call.seq),
                    name => name.to_owned(),
                };
                let url = LogUrl::CloudWatch { group: group.clone(), stream };
                return self.archive_stream(url, size, request.overwrite || request.to.is_folder());
            }
        };
        let name = format!("{}-{}-{}-{}.log", container.name(), self.now(), call.run, call.seq);
        let url = if to.is_folder() { to.join(&name) } else { to.clone() };
        let facts = url.with_key(format!("{}{FACTS}", url.key()));
        let log = SimObject { size, ..SimObject::default() };
        let Stored { url, size, sha256 } = self.transfer(url, log, request.overwrite || to.is_folder())?;
        self.store(&facts, SimObject { size: SMALL, ..SimObject::default() }, true)?;
        Ok(Archived { url: url.into(), facts: facts.into(), size, sha256 })
    }

    /// A log stream that is there is added to, or made anew.
    fn archive_stream(&mut self, url: LogUrl, size: u64, anew: bool) -> Result<Archived, EffectError> {
        if self.objects.down {
            return Err(EffectError::new(ErrorKind::Unavailable, format!("`{url}` was not served")).not_applied());
        }
        let facts = url.with_suffix(FACTS);
        for (stream, more) in [(&facts, SMALL), (&url, size)] {
            let held = self.objects.streams.entry(stream.clone()).or_default();
            *held = if anew { more } else { *held + more };
        }
        Ok(Archived { url, facts, size, sha256: String::new() })
    }

    fn reach_storage(&self, url: &ObjectUrl) -> Result<(), EffectError> {
        match url {
            ObjectUrl::S3 { .. } if self.objects.down => {
                Err(EffectError::new(ErrorKind::Unavailable, format!("storage did not serve `{url}`")).not_applied())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn stored(&self, url: &ObjectUrl) -> Result<Option<&SimObject>, EffectError> {
        self.reach_storage(url)?;
        Ok(self.objects.stored.get(url))
    }

    pub(super) fn store(&mut self, url: &ObjectUrl, object: SimObject, overwrite: bool) -> Result<(), EffectError> {
        if self.stored(url)?.is_some() && !overwrite {
            return Err(EffectError::new(ErrorKind::NameTaken, format!("`{url}` is there already"))
                .hint("choose another name, or say `overwrite: true`")
                .not_applied());
        }
        let modified_ms = self.clock.unix_ms();
        self.objects.stored.insert(url.clone(), SimObject { modified_ms, ..object });
        Ok(())
    }

    fn transfer(&mut self, url: ObjectUrl, object: SimObject, overwrite: bool) -> Result<Stored, EffectError> {
        let (size, sha256) = (object.size, object.database.as_ref().map(Database::id).unwrap_or_default());
        self.store(&url, object, overwrite)?;
        Ok(Stored { url, size, sha256 })
    }

    fn listed(&self, prefix: &ObjectUrl) -> Result<Vec<Object>, EffectError> {
        self.reach_storage(prefix)?;
        let begins = |url: &ObjectUrl| url.to_string().starts_with(&prefix.to_string());
        let found = self.objects.stored.iter().filter(|(url, _)| begins(url));
        Ok(found
            .map(|(url, object)| Object {
                url: url.clone(),
                name: url.name().into(),
                size: object.size,
                modified_ms: object.modified_ms,
            })
            .collect())
    }
}

fn missing(url: &ObjectUrl) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("there is no object `{url}`")).not_applied()
}
