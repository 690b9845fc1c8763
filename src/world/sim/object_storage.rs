//! Effects on storage: files of the host and objects in buckets, by address. Of their content only databases are known.
//!
//! Faults: a missing object, a name that is taken, storage that does not answer.

use super::model::database::SimDatabase;
use super::model::storage::SimObject;
use super::sim_host::SimHost;
use crate::base::log_url::LogUrl;
use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::object::{
    ArchiveContainer, Archived, FACTS, Object, ObjectEffect, ObjectOutcome, Pruned, Stored, object_exists,
    object_not_found, storage_unreachable,
};
use crate::world::Call;
use crate::world::clock::Clock;

/// Why a request fails while the storage is down.
const NO_ANSWER: &str = "the storage does not answer";
/// The size assumed for a file that is not described.
const ASSUMED_FILE_SIZE: u64 = 1024;

impl SimHost {
    pub(super) fn object(&mut self, call: &Call, effect: &ObjectEffect) -> Result<ObjectOutcome, EffectError> {
        match effect {
            ObjectEffect::Put(request) => {
                let file = ObjectUrl::File { path: request.path.clone() };
                let object = self.stored(&file)?.cloned();
                let object = object.unwrap_or(SimObject { size: ASSUMED_FILE_SIZE, ..SimObject::default() });
                self.transfer(request.target(), object, request.overwrite).map(ObjectOutcome::Put)
            }
            ObjectEffect::Get(request) => {
                let object = self.stored(&request.url)?.cloned().ok_or_else(|| object_not_found(&request.url))?;
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
                    return Err(object_not_found(&request.url));
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
        self.store(&facts, SimObject { size: ASSUMED_FILE_SIZE, ..SimObject::default() }, true)?;
        Ok(Archived { url: url.into(), facts: facts.into(), size, sha256 })
    }

    /// Appends to a log stream, or starts it again.
    fn archive_stream(&mut self, url: LogUrl, size: u64, overwrite: bool) -> Result<Archived, EffectError> {
        if self.objects.down {
            return Err(storage_unreachable(&url, NO_ANSWER).not_applied());
        }
        let facts = url.with_suffix(FACTS);
        for (stream, more) in [(&facts, ASSUMED_FILE_SIZE), (&url, size)] {
            let held = self.objects.streams.entry(stream.clone()).or_default();
            *held = if overwrite { more } else { *held + more };
        }
        Ok(Archived { url, facts, size, sha256: String::new() })
    }

    fn reach_storage(&self, url: &ObjectUrl) -> Result<(), EffectError> {
        match url {
            ObjectUrl::S3 { .. } if self.objects.down => Err(storage_unreachable(url, NO_ANSWER).not_applied()),
            _ => Ok(()),
        }
    }

    pub(super) fn stored(&self, url: &ObjectUrl) -> Result<Option<&SimObject>, EffectError> {
        self.reach_storage(url)?;
        Ok(self.objects.stored.get(url))
    }

    pub(super) fn store(&mut self, url: &ObjectUrl, object: SimObject, overwrite: bool) -> Result<(), EffectError> {
        if self.stored(url)?.is_some() && !overwrite {
            return Err(object_exists(url));
        }
        let modified_ms = self.clock.unix_ms();
        self.objects.stored.insert(url.clone(), SimObject { modified_ms, ..object });
        Ok(())
    }

    fn transfer(&mut self, url: ObjectUrl, object: SimObject, overwrite: bool) -> Result<Stored, EffectError> {
        let (size, sha256) = (object.size, object.database.as_ref().map(SimDatabase::id).unwrap_or_default());
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
