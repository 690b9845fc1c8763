//! A mounted volume or folder as in a compose file: `SOURCE:TARGET[:ro]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A mount. A source with a slash is a folder of the host, any other a named volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mount {
    /// The volume's name or the host's folder.
    pub source: String,
    /// The folder inside the container.
    pub target: String,
    /// Whether the container can only read it.
    pub read_only: bool,
}

impl Mount {
    /// Returns whether the source is a named volume, not a folder of the host.
    pub fn is_volume(&self) -> bool {
        !self.source.contains('/')
    }
}

impl FromStr for Mount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!("`{text}` is not a mount ({why}): write it like `data:/app/data` or `/srv/conf:/etc/conf:ro`")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, read_only) = match parts[..] {
            [source, target] | [source, target, "rw"] => (source, target, false),
            [source, target, "ro"] => (source, target, true),
            [_, _, _] => return Err(wrong("the third part must be `ro` or `rw`")),
            _ => return Err(wrong("it needs a source and a target")),
        };
        if source.is_empty() {
            return Err(wrong("the source is empty"));
        }
        if !target.starts_with('/') {
            return Err(wrong("the target must be an absolute path"));
        }
        if source.contains('/') && !source.starts_with('/') {
            return Err(wrong("a host folder must be an absolute path"));
        }
        if target.split('/').any(|part| part == "..") {
            return Err(wrong("the target may not contain `..`"));
        }
        Ok(Self { source: source.into(), target: target.into(), read_only })
    }
}

impl TryFrom<String> for Mount {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mount> for String {
    fn from(mount: Mount) -> Self {
        mount.to_string()
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.source, self.target, if self.read_only { ":ro" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_mounts() {
        for text in ["data:/app/data", "/srv/conf:/etc/conf:ro"] {
            assert_eq!(text.parse::<Mount>().unwrap().to_string(), text);
        }
        assert!("data:/app".parse::<Mount>().unwrap().is_volume());
        assert!(!"/data:/app".parse::<Mount>().unwrap().is_volume());
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "data", "data:app", ":/app", "./x:/app", "a:/b:zz", "a:/b:ro:x", "a:/b/../../etc"] {
            assert!(text.parse::<Mount>().is_err(), "{text}");
        }
    }
}
