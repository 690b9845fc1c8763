//! `sqlite_backup` and `sqlite_restore`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DatabaseLocation, FindUsers, SqliteOutcome, copy_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::object::S3Access;
use crate::effect::request::request;
use crate::effect::volume::path_outside_volume;
use crate::effect::{Effect, EffectError, Outcome, Undo};

/// `sqlite_backup`: makes a consistent copy of a database that may be in use. The copy is checked before it is given its
/// name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackUpSqlite {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// A file or object. With a slash at the end, a folder in which the copy is named after database, time and run.
    pub to: ObjectUrl,
    /// The named volume that `to` is a path in. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_volume: Option<String>,
    /// In a folder, the beginning of the copy's name. Default: the name of the database without its extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces what exists at `to`. Default: that is an error.
    #[serde(default)]
    pub overwrite: bool,
    /// Checks the copy with `integrity_check` instead of `quick_check`.
    #[serde(default)]
    pub full: bool,
    /// Default 15 min.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

impl BackUpSqlite {
    /// Returns the beginning of the copy's name in a folder.
    ///
    /// # Errors
    /// Fails if it is empty or has a slash.
    pub fn name_in_folder(&self) -> Result<&str, EffectError> {
        match &self.name {
            None => Ok(self.location.stem()),
            Some(name) if name.is_empty() || name.contains('/') => {
                Err(EffectError::invalid(format!("`name` must be part of a file's name, and is `{name}`")))
            }
            Some(name) => Ok(name),
        }
    }

    /// Returns the address of the copy in the volume that has this folder.
    ///
    /// # Errors
    /// Fails if `to` is not a path inside a volume.
    pub fn address_in_volume(&self, folder: &str) -> Result<ObjectUrl, EffectError> {
        let path = match &self.to {
            ObjectUrl::File { path } => path.strip_prefix('/').unwrap_or(path),
            ObjectUrl::S3 { .. } => "..",
        };
        if path.split('/').any(|part| part == "..") {
            return Err(path_outside_volume(&self.to).hint("for example: `to: \"backups/\"`"));
        }
        Ok(ObjectUrl::File { path: format!("{}/{path}", folder.trim_end_matches('/')) })
    }
}

request! {
    BackUpSqlite {
        kind: "sqlite_backup",
        reply: BackedUp,
        access: Write,
        // In a folder the copy of this run is found and replaced; a single name that is taken is refused.
        recovery: Repeat,
        deadline: timeout,
        interruptible: true,
        subject: Self::source_and_target,
    }
}

impl BackUpSqlite {
    fn source_and_target(&self) -> String {
        match &self.to_volume {
            Some(volume) => format!("{} -> {volume}:{}", self.location, self.to.key()),
            None => format!("{} -> {}", self.location, self.to),
        }
    }
}

/// A copy that passed the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The address of the copy.
    pub url: ObjectUrl,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// The number of rows of every table of the copy.
    pub tables: BTreeMap<String, u64>,
}

/// `sqlite_restore`: replaces a database that is not in use with a copy. The replaced database is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreSqlite {
    /// The database to replace.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// The copy: a file or an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ObjectUrl>,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Puts back the database with this id that a restore replaced. Empty: there was none. Used by the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back: Option<String>,
    /// Default 15 min.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

request! {
    RestoreSqlite {
        kind: "sqlite_restore",
        reply: Restored,
        access: Write,
        recovery: Repeat,
        deadline: timeout,
        subject: Self::source_and_target,
        prior: |restore| restore.put_back.is_none().then(|| restore.find_users()),
        undo: Self::undo_from,
    }
}

impl RestoreSqlite {
    fn source_and_target(&self) -> String {
        match &self.from {
            Some(from) => format!("{from} -> {}", self.location),
            None => self.location.to_string(),
        }
    }

    fn find_users(&self) -> Effect {
        FindUsers { location: self.location.clone(), timeout: self.timeout }.into()
    }

    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Sqlite(SqliteOutcome::Users(users))) => Undo::by(Self {
                location: self.location.clone(),
                from: None,
                s3: S3Access::default(),
                put_back: Some(users.id.clone().unwrap_or_default()),
                timeout: self.timeout,
            }),
            _ => Undo::Nothing,
        }
    }
}

/// A database that was put in location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Where the replaced database is kept; missing if there was none.
    #[serde(default)]
    pub kept: Option<String>,
    /// The number of rows of every table.
    pub tables: BTreeMap<String, u64>,
    /// Bytes.
    pub size: u64,
}
