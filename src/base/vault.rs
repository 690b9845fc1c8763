//! The secrets of one run: looked up by name, exposed to worlds only, scrubbed from everything that comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::text::{Part, Text};

/// A value shorter than this is not scrubbed: it would blot out every text that has it by chance.
pub const SHORTEST_SCRUBBED: usize = 4;

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Secrets by name. `lookup` is the one way to their values; what was looked up is remembered for scrubbing.
pub struct Vault {
    lookup: Box<Lookup>,
    known: Mutex<BTreeMap<String, String>>,
}

/// A secret that is not set anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSecret(pub String);

impl Vault {
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), known: Mutex::default() }
    }

    /// A vault without any secret.
    pub fn empty() -> Self {
        Self::new(|_| None)
    }

    /// The value of one secret.
    pub fn expose(&self, name: &str) -> Result<String, MissingSecret> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.get(name) {
            return Ok(value.clone());
        }
        let value = (self.lookup)(name).ok_or_else(|| MissingSecret(name.into()))?;
        known.insert(name.into(), value.clone());
        Ok(value)
    }

    /// The text with its secrets filled in.
    pub fn reveal(&self, text: &Text) -> Result<String, MissingSecret> {
        text.parts()
            .iter()
            .map(|part| match part {
                Part::Plain(text) => Ok(text.clone()),
                Part::Secret { secret } => self.expose(secret),
            })
            .collect()
    }

    /// `text` with every known secret value replaced by `<secret NAME>`, longest value first.
    pub fn scrub(&self, text: &str) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values: Vec<(&String, &String)> = known
            .iter()
            .filter(|(_, value)| value.len() >= SHORTEST_SCRUBBED && text.contains(value.as_str()))
            .collect();
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        values
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(value.as_str(), &format!("<secret {name}>")))
    }

    /// Whether any secret has been looked up so far.
    pub fn is_unused(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubs_what_was_exposed() {
        let vault = Vault::new(|name| (name == "TOKEN").then(|| "hunter2hunter2".into()));
        assert_eq!(vault.scrub("hunter2hunter2"), "hunter2hunter2", "not known yet");
        assert_eq!(vault.reveal(&Text::plain("t=").join(Text::secret("TOKEN"))).unwrap(), "t=hunter2hunter2");
        assert_eq!(vault.scrub("got hunter2hunter2!"), "got <secret TOKEN>!");
        assert_eq!(vault.expose("OTHER"), Err(MissingSecret("OTHER".into())));
    }
}
