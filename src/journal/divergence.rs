//! A divergence: where a replay and its journal differ.

use std::fmt;

use crate::base::seq::Seq;
use crate::effect::{EffectError, ErrorKind};

/// A mismatch between the journal and what the script requests now.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The position in the run.
    pub seq: Seq,
    /// What the journal has, one option a line.
    pub recorded: String,
    /// What the script requests now; `None` when the script has ended.
    pub requested: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.requested {
            Some(_) => write!(f, "at {} the script requests something other than what this run did", self.seq),
            None => write!(f, "the script ended without requesting what this run did at {}", self.seq),
        }
    }
}

impl Divergence {
    /// Returns the lines that differ: `-` recorded, `+` requested.
    pub fn difference(&self) -> String {
        let requested = self.requested.as_deref().unwrap_or_default();
        let without = |lines: &str, other: &str, sign: char| {
            let differ = lines.lines().filter(|line| !other.lines().any(|same| same == *line));
            differ.map(|line| format!("{sign} {line}\n")).collect::<String>()
        };
        let text = [without(&self.recorded, requested, '-'), without(requested, &self.recorded, '+')].concat();
        text.trim_end().to_owned()
    }
}

impl From<Divergence> for EffectError {
    fn from(divergence: Divergence) -> Self {
        Self::new(ErrorKind::Diverged, divergence.to_string())
            .detail(divergence.difference())
            .hint("`-` is what the journal has, `+` what the script requests now; roll the run back with `deployer abort`")
            .not_applied()
    }
}
