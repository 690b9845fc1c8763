//! The address of an object: `s3://BUCKET/KEY`, `file:///FOLDER/NAME`, or the plain path of a file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of one object, or of a folder of objects if it ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ObjectUrl {
    /// In a bucket of S3-compatible storage.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key in it.
        key: String,
    },
    /// A file on the machine that runs deployer.
    File {
        /// Its path.
        path: String,
    },
}

const S3: &str = "s3://";
const FILE: &str = "file://";

impl ObjectUrl {
    /// Returns the key, or the path.
    pub fn key(&self) -> &str {
        match self {
            Self::S3 { key, .. } => key,
            Self::File { path } => path,
        }
    }

    /// Returns whether it is a folder, in which the object still needs a name.
    pub fn is_folder(&self) -> bool {
        self.key().is_empty() || self.key().ends_with('/')
    }

    /// Returns the part after the last slash.
    pub fn name(&self) -> &str {
        self.key().rsplit('/').next().unwrap_or_default()
    }

    /// Returns the same address with another key.
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        match self {
            Self::S3 { bucket, .. } => Self::S3 { bucket: bucket.clone(), key: key.into() },
            Self::File { .. } => Self::File { path: key.into() },
        }
    }

    /// Returns the object of this name in this folder.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let folder = self.key();
        let gap = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
        self.with_key(format!("{folder}{gap}{name}"))
    }

    /// Returns the folder that it is in, or itself if it is a folder.
    #[must_use]
    pub fn folder(&self) -> Self {
        let end = self.key().rfind('/').map_or(0, |slash| slash + 1);
        self.with_key(&self.key()[..end])
    }
}

impl FromStr for ObjectUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "`{text}` is not an object address ({why}): write it like `s3://bucket/key` or `file:///folder/name`"
            )
        };
        if let Some(rest) = text.strip_prefix(S3) {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || bucket.contains(|c: char| c.is_whitespace() || "?#@:".contains(c)) {
                return Err(wrong("the bucket's name is missing or invalid"));
            }
            if key.split('/').any(|part| part == "." || part == "..") || key.starts_with('/') || key.contains("//") {
                return Err(wrong("the key has an empty part, `.` or `..`"));
            }
            return Ok(Self::S3 { bucket: bucket.into(), key: key.into() });
        }
        if let Some(path) = text.strip_prefix(FILE) {
            if !path.starts_with('/') {
                return Err(wrong("a path after `file://` must begin with a slash"));
            }
            return Ok(Self::File { path: path.into() });
        }
        if text.contains("://") {
            return Err(wrong("only `s3` and `file` are supported"));
        }
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        Ok(Self::File { path: text.into() })
    }
}

impl TryFrom<String> for ObjectUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ObjectUrl> for String {
    fn from(url: ObjectUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "{S3}{bucket}/{key}"),
            Self::File { path } if path.starts_with('/') => write!(f, "{FILE}{path}"),
            Self::File { path } => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ObjectUrl {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_prints() {
        for text in ["s3://b/a/c.db", "s3://b/", "file:///x/y", "backups/app.db"] {
            assert_eq!(url(text).to_string(), text);
        }
        assert_eq!(url("/x/y"), url("file:///x/y"));
        assert_eq!(url("s3://b"), url("s3://b/"));
    }

    #[test]
    fn folders_and_names() {
        assert!(url("s3://b").is_folder() && url("s3://b/a/").is_folder() && url("file:///x/").is_folder());
        assert!(!url("s3://b/a").is_folder());
        assert_eq!(url("s3://b").join("n"), url("s3://b/n"));
        assert_eq!(url("file:///x").join("n"), url("file:///x/n"));
        assert_eq!((url("s3://b/a/c").name(), url("s3://b/a/c").folder()), ("c", url("s3://b/a/")));
        assert_eq!(url("s3://b/c").folder(), url("s3://b"));
    }

    #[test]
    fn refuses_other_texts() {
        for text in
            ["", "s3://", "s3:///k", "s3://b/../k", "s3://b//k", "s3://b c/k", "file://x", "https://x/y", "gs://b"]
        {
            assert!(text.parse::<ObjectUrl>().is_err(), "{text}");
        }
    }
}
