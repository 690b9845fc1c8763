//! The id of a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A run's id: ten random letters and digits that cannot be confused with each other. The first is a digit, so that an
/// id never looks like a word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// Crockford's base 32 without the letters I, L, O, U, in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 48 bits: a collision is expected after some 16 million runs on one host.
const LENGTH: usize = 10;

impl RunId {
    /// Creates an id from random bytes, which the caller supplies.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        let letter =
            |(index, byte): (usize, &u8)| ALPHABET[usize::from(byte % if index == 0 { 10 } else { 32 })] as char;
        Self(bytes.iter().enumerate().map(letter).collect())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}` is not a run id: it has {LENGTH} letters and digits, see `deployer runs`"))
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}
