//! Text that holds secrets: prints, compares and is stored by the secrets' names. Plain data.

use serde_json::{Map, Value};

use crate::base::text::Text;

/// Text with secrets in it, as `secret("NAME")` returns it.
///
/// Scripts join it to other text with `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretText(pub Text);

impl SecretText {
    /// Reads a secret text from its JSON form, or returns `None` for any other map.
    pub fn from_json(map: &Map<String, Value>) -> Option<Self> {
        if map.len() != 1 || !map.contains_key("secret_text") {
            return None;
        }
        serde_json::from_value(Value::Object(map.clone())).ok().map(Self)
    }
}
