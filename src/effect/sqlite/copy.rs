//! `sqlite_backup` and `sqlite_restore`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DatabasePlace, FindUsers, SqliteOutcome, copy_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::facts::GRACE;
use crate::effect::object::S3Access;
use crate::effect::{Access, Effect, EffectError, ErrorKind, Facts, Outcome, Recovery, Request, Undo};

/// `sqlite_backup`: a consistent copy of a database that may be in use, checked before it gets its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackUpSqlite {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// A file or object; with a slash at the end a folder, in which the copy is named after database, time and run.
    pub to: ObjectUrl,
    /// The named volume that `to` is a path in. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_volume: Option<String>,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces what is at `to`. Default: that fails.
    #[serde(default)]
    pub overwrite: bool,
    /// `integrity_check` of the copy instead of `quick_check`.
    #[serde(default)]
    pub full: bool,
    /// Default 15 min.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

impl BackUpSqlite {
    /// Where the copy goes when the volume that it is for has this folder.
    ///
    /// # Errors
    /// When `to` is no path inside a volume.
    pub fn inside(&self, folder: &str) -> Result<ObjectUrl, EffectError> {
        let path = match &self.to {
            ObjectUrl::File { path } => path.strip_prefix('/').unwrap_or(path),
            ObjectUrl::S3 { .. } => "..",
        };
        if path.split('/').any(|part| part == "..") {
            let message = format!("`{}` is not a path inside a volume", self.to);
            return Err(EffectError::new(ErrorKind::Invalid, message)
                .hint("for example: `to: \"backups/\"`")
                .not_applied());
        }
        Ok(ObjectUrl::File { path: format!("{}/{path}", folder.trim_end_matches('/')) })
    }
}

impl Facts for BackUpSqlite {
    fn access(&self) -> Access {
        Access::Write
    }

    /// In a folder the run's own copy is found again and made anew; a single name that is taken is refused.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        match &self.to_volume {
            Some(volume) => format!("{} -> {volume}:{}", self.place, self.to.key()),
            None => format!("{} -> {}", self.place, self.to),
        }
    }
}

impl Request for BackUpSqlite {
    const KIND: &'static str = "sqlite_backup";
    type Reply = BackedUp;
}

/// A copy that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub url: ObjectUrl,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
    /// Rows of every table of the copy.
    pub tables: BTreeMap<String, u64>,
}

/// `sqlite_restore`: puts a copy in the place of a database that nobody uses. What was there is kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreSqlite {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// The copy: a file or an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ObjectUrl>,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Puts the database with this id back that a restore replaced; empty: there was none. What the undo asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back: Option<String>,
    /// Default 15 min.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

impl Facts for RestoreSqlite {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn prior(&self) -> Option<Effect> {
        let find = || FindUsers { place: self.place.clone(), timeout: self.timeout };
        self.put_back.is_none().then(|| find().into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Sqlite(SqliteOutcome::Users(users))) => Undo::by(Self {
                place: self.place.clone(),
                from: None,
                s3: S3Access::default(),
                put_back: Some(users.id.clone().unwrap_or_default()),
                timeout: self.timeout,
            }),
            _ => Undo::Nothing,
        }
    }

    fn subject(&self) -> String {
        match &self.from {
            Some(from) => format!("{from} -> {}", self.place),
            None => self.place.to_string(),
        }
    }
}

impl Request for RestoreSqlite {
    const KIND: &'static str = "sqlite_restore";
    type Reply = Restored;
}

/// A database that was put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Where the database is that was there before; none when there was none.
    #[serde(default)]
    pub kept: Option<String>,
    /// Rows of every table.
    pub tables: BTreeMap<String, u64>,
    /// Bytes.
    pub size: u64,
}
