//! Text that may contain secrets. Only the secrets' names are ever stored, shown or compared.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text of plain parts and names of secrets. Serializes as a plain string without secrets, else as
/// `{"secret_text": ["plain", {"secret": "NAME"}]}`. Numbers and booleans are read as their text, as in the environment
/// of a compose file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text(Vec<Part>);

/// A part of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    /// Plain text.
    Plain(String),
    /// A secret.
    Secret {
        /// Its name.
        secret: String,
    },
}

/// The one key of a secret text's JSON form.
const SECRET_TEXT: &str = "secret_text";

impl Text {
    /// Returns plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Part::Plain(text.into())])
    }

    /// Returns the text that is the value of a secret.
    pub fn secret(name: impl Into<String>) -> Self {
        Self(vec![Part::Secret { secret: name.into() }])
    }

    /// Appends `other`.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Returns its parts.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Iterates over the names of its secrets.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Secret { secret } => Some(secret.as_str()),
        })
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

/// Shows secrets as `<secret NAME>`.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Plain(text) => f.write_str(text)?,
                Part::Secret { secret } => write!(f, "<secret {secret}>")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if self.secret_names().next().is_none() {
            return serializer.collect_str(self);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(SECRET_TEXT, &self.0)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a text, a number, a boolean or a secret")]
        enum Form {
            Plain(String),
            Integer(i64),
            Float(f64),
            Bool(bool),
            Parts { secret_text: Vec<Part> },
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Plain(text) => Self::plain(text),
            Form::Integer(number) => Self::plain(number.to_string()),
            Form::Float(number) => Self::plain(number.to_string()),
            Form::Bool(truth) => Self::plain(truth.to_string()),
            Form::Parts { secret_text } => Self(secret_text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_names_and_never_values() {
        let text = Text::plain("Bearer ").join(Text::secret("TOKEN"));
        assert_eq!(text.to_string(), "Bearer <secret TOKEN>");
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(json, r#"{"secret_text":["Bearer ",{"secret":"TOKEN"}]}"#);
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
    }

    #[test]
    fn reads_numbers_as_compose_does() {
        assert_eq!(serde_json::from_str::<Text>("5000").unwrap(), Text::plain("5000"));
        assert_eq!(serde_json::from_str::<Text>("true").unwrap(), Text::plain("true"));
    }
}
