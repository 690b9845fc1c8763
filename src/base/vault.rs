//! The secrets of a run: looked up by name, exposed only to worlds, redacted from everything that worlds return.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use super::scrubber::SHORTEST_SCRUBBED;
use super::scrubber::Scrubber;
use super::text::{Part, Text};

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Secrets by name. `lookup` is the only way to their values; values that were looked up are remembered to redact them.
pub struct Vault {
    lookup: Box<Lookup>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    values: BTreeMap<String, String>,
    scrubber: Arc<Scrubber>,
    /// Names of secrets that are too short to be redacted and were not reported yet.
    too_short: Vec<String>,
}

/// A secret that is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSecret(
    /// Its name.
    pub String,
);

impl Vault {
    /// Creates a vault that finds secrets through `lookup`.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), known: Mutex::default() }
    }

    /// Returns a vault without secrets.
    pub fn empty() -> Self {
        Self::new(|_| None)
    }

    /// Returns the value of a secret.
    ///
    /// # Errors
    /// Fails if the secret is not set.
    pub fn expose(&self, name: &str) -> Result<String, MissingSecret> {
        let mut known = self.known();
        if let Some(value) = known.values.get(name) {
            return Ok(value.clone());
        }
        let value = (self.lookup)(name).ok_or_else(|| MissingSecret(name.into()))?;
        if value.len() < SHORTEST_SCRUBBED {
            known.too_short.push(name.into());
        }
        known.values.insert(name.into(), value.clone());
        let all = known.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        known.scrubber = Arc::new(Scrubber::new(all));
        Ok(value)
    }

    /// Returns the text with its secrets filled in.
    ///
    /// # Errors
    /// Fails if one of them is not set.
    pub fn reveal(&self, text: &Text) -> Result<String, MissingSecret> {
        text.parts()
            .iter()
            .map(|part| match part {
                Part::Plain(text) => Ok(text.clone()),
                Part::Secret { secret } => self.expose(secret),
            })
            .collect()
    }

    /// Returns `text` with every known secret value replaced by `<secret NAME>`.
    pub fn scrub(&self, text: &str) -> String {
        let scrubber = self.known().scrubber.clone();
        scrubber.scrub(text)
    }

    /// Returns whether no secret has been looked up so far.
    pub fn is_unused(&self) -> bool {
        self.known().values.is_empty()
    }

    /// Returns the names of the secrets whose values are too short to be redacted, each once.
    pub fn take_too_short(&self) -> Vec<String> {
        std::mem::take(&mut self.known().too_short)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn reports_a_value_that_cannot_be_redacted_once() {
        let vault = Vault::new(|_| Some("abc".into()));
        vault.expose("PIN").unwrap();
        vault.expose("PIN").unwrap();
        assert_eq!((vault.take_too_short(), vault.take_too_short()), (vec!["PIN".to_owned()], vec![]));
        assert_eq!(vault.scrub("abc"), "abc");
    }
}
