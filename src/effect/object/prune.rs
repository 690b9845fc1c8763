//! `object_prune`: retention by count and age.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Object, S3Access, ask_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Recovery, Request};

/// `object_prune`: deletes the old ones of a row of objects, such as backups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneObjects {
    /// How their addresses begin; what is in folders below is left alone.
    pub prefix: ObjectUrl,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// The newest so many always stay.
    pub keep: usize,
    /// Of the others only those that are older are deleted. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<DurationText>,
    /// Default 60 s.
    #[serde(default = "ask_timeout")]
    pub timeout: DurationText,
}

impl Facts for PruneObjects {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.prefix.to_string()
    }
}

impl Request for PruneObjects {
    const KIND: &'static str = "object_prune";
    type Reply = Pruned;
}

/// What was deleted and what is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    pub deleted: Vec<ObjectUrl>,
    pub kept: usize,
}

impl PruneObjects {
    /// Which of these are to go at this instant, the oldest first.
    pub fn surplus(&self, mut objects: Vec<Object>, now_ms: i64) -> Vec<Object> {
        let folder = self.prefix.folder();
        objects.retain(|object| object.url.folder() == folder);
        // The name decides between objects of one instant, so that everybody decides alike.
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
            timeout: ask_timeout(),
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
