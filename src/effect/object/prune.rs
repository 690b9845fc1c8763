//! `object_prune`: retention by count and age.

use serde::{Deserialize, Serialize};

use super::{Object, S3Access, read_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::request::request;

/// `object_prune`: deletes the oldest of a series of objects, such as backups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneObjects {
    /// The beginning of their addresses. Subfolders are left alone.
    pub prefix: ObjectUrl,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// The number of newest objects that are always kept.
    pub keep: usize,
    /// Deletes only those that are older than this. Default: all but the kept ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<DurationText>,
    /// Default 60 s.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    PruneObjects {
        kind: "object_prune",
        reply: Pruned,
        access: Write,
        recovery: Repeat,
        deadline: timeout,
        subject: prefix,
    }
}

/// The result of pruning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The deleted objects.
    pub deleted: Vec<ObjectUrl>,
    /// The number of objects that are left.
    pub kept: usize,
}

impl PruneObjects {
    /// Returns the objects to delete at this time, oldest first.
    pub fn surplus(&self, mut objects: Vec<Object>, now_ms: i64) -> Vec<Object> {
        let folder = self.prefix.folder();
        objects.retain(|object| object.url.folder() == folder);
        // Objects of the same time are ordered by name, so that every world decides alike.
        objects.sort_by(|a, b| (b.modified_ms, &b.name).cmp(&(a.modified_ms, &a.name)));
        let oldest = self.older_than.map(|age| i64::try_from(age.0.as_millis()).unwrap_or(i64::MAX));
        let mut surplus: Vec<Object> = objects
            .into_iter()
            .skip(self.keep)
            .filter(|object| oldest.is_none_or(|age| now_ms.saturating_sub(object.modified_ms) > age))
            .collect();
        surplus.reverse();
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(url: &str, modified_ms: i64) -> Object {
        let url: ObjectUrl = url.parse().unwrap();
        Object { name: url.name().into(), url, size: 1, modified_ms }
    }

    fn pruned(keep: usize, older_than: Option<u64>) -> Vec<String> {
        let request = PruneObjects {
            prefix: "s3://b/backups/app-".parse().unwrap(),
            s3: S3Access::default(),
            keep,
            older_than: older_than.map(DurationText::millis),
            timeout: read_timeout(),
        };
        let objects = vec![
            object("s3://b/backups/app-2", 20),
            object("s3://b/backups/app-1", 10),
            object("s3://b/backups/app-4", 30),
            object("s3://b/backups/app-3", 30),
            object("s3://b/backups/app-old/x", 1),
        ];
        request.surplus(objects, 40).into_iter().map(|object| object.name).collect()
    }

    #[test]
    fn the_newest_stay_and_folders_below_are_left_alone() {
        assert_eq!(pruned(1, None), ["app-1", "app-2", "app-3"]);
        assert_eq!(pruned(3, None), ["app-1"]);
        assert_eq!(pruned(0, Some(15)), ["app-1", "app-2"]);
        assert_eq!(pruned(3, Some(30)), Vec::<String>::new(), "not older than that");
    }
}
