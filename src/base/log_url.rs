//! The address of a container's log: an object, or a log stream of CloudWatch, `cloudwatch://GROUP/STREAM`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::object_url::ObjectUrl;

/// The address of a log, or of the folder or log group for it if it ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LogUrl {
    /// An object.
    Object(ObjectUrl),
    /// A log stream. A group's name may have slashes; a stream's name, here, has none.
    CloudWatch {
        /// The log group.
        group: String,
        /// The log stream.
        stream: String,
    },
}

const CLOUDWATCH: &str = "cloudwatch://";
/// The service's own limit for both names.
const LONGEST_NAME: usize = 512;

impl LogUrl {
    /// Returns whether it is a folder or group, in which the log still needs a name.
    pub fn is_folder(&self) -> bool {
        match self {
            Self::Object(url) => url.is_folder(),
            Self::CloudWatch { stream, .. } => stream.is_empty(),
        }
    }

    /// Returns the last part of the address.
    pub fn name(&self) -> &str {
        match self {
            Self::Object(url) => url.name(),
            Self::CloudWatch { stream, .. } => stream,
        }
    }

    /// Returns the same address with a suffix.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        match self {
            Self::Object(url) => Self::Object(url.with_key(format!("{}{suffix}", url.key()))),
            Self::CloudWatch { group, stream } => {
                Self::CloudWatch { group: group.clone(), stream: format!("{stream}{suffix}") }
            }
        }
    }
}

impl From<ObjectUrl> for LogUrl {
    fn from(url: ObjectUrl) -> Self {
        Self::Object(url)
    }
}

impl FromStr for LogUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(CLOUDWATCH) else {
            return text.parse().map(Self::Object);
        };
        let wrong = |why: &str| {
            format!(
                "`{text}` is not a log stream ({why}): write it like `{CLOUDWATCH}group/stream`, or `{CLOUDWATCH}group/` \
                 for one that is named after container and run"
            )
        };
        let Some((group, stream)) = rest.rsplit_once('/') else {
            return Err(wrong("it needs a slash after the group"));
        };
        let is_group = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
        if group.is_empty() || group.len() > LONGEST_NAME || !group.chars().all(is_group) {
            return Err(wrong("a group's name has letters, digits, and `.`, `_`, `-`, `/`, `#`"));
        }
        if stream.len() > LONGEST_NAME || stream.contains([':', '*']) || stream.chars().any(char::is_control) {
            return Err(wrong("a stream's name has no `:` and no `*`"));
        }
        Ok(Self::CloudWatch { group: group.into(), stream: stream.into() })
    }
}

impl TryFrom<String> for LogUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LogUrl> for String {
    fn from(url: LogUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(url) => url.fmt(f),
            Self::CloudWatch { group, stream } => write!(f, "{CLOUDWATCH}{group}/{stream}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> LogUrl {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_prints() {
        for text in ["cloudwatch://web/", "cloudwatch:///aws/web/live", "s3://b/a", "file:///x/"] {
            assert_eq!(url(text).to_string(), text);
        }
        let LogUrl::CloudWatch { group, stream } = url("cloudwatch:///aws/web/live") else { panic!() };
        assert_eq!((group.as_str(), stream.as_str()), ("/aws/web", "live"));
        assert!(url("cloudwatch://web/").is_folder() && !url("cloudwatch://web/live").is_folder());
        assert_eq!(url("cloudwatch://web/live").with_suffix(".json"), url("cloudwatch://web/live.json"));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["cloudwatch://", "cloudwatch://web", "cloudwatch:///", "cloudwatch://a b/", "cloudwatch://a/b:c"] {
            assert!(text.parse::<LogUrl>().is_err(), "{text}");
        }
    }
}
