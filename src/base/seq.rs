//! The place of an effect in its run, the same on every replay whatever the timing of parallel branches.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

/// A path of numbers from 1: `12` is the twelfth entry of the main branch, `12.2.3` the third entry
/// of the second branch of the `parallel` that was entry 12.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seq(Vec<u32>);

impl Seq {
    /// Its numbers, outermost first. All but the last are the branch that it is on.
    pub fn path(&self) -> &[u32] {
        &self.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, number) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

impl FromStr for Seq {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('.')
            .map(|part| part.parse::<u32>())
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
            .map_err(|_| format!("`{text}` is not a place in a run: write it like `12` or `12.2.3`"))
    }
}

impl TryFrom<String> for Seq {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Seq> for String {
    fn from(seq: Seq) -> Self {
        seq.to_string()
    }
}

impl Seq {
    /// Entry 0, which no script has: what a run does beside its script is numbered below it.
    fn beside() -> Self {
        Self(vec![0])
    }

    /// Where a check of the script is asked again, by the process that opened the run for the `attempt`th time.
    pub fn asked_again(&self, attempt: u32) -> Self {
        let mut path = vec![0, attempt.saturating_add(1), 0];
        path.extend(&self.0);
        Self(path)
    }

    /// Whether the script itself asked for it.
    pub fn is_of_script(&self) -> bool {
        self.0.first() != Some(&0)
    }
}

/// One line of execution: numbers its own entries. The script's main line is the root,
/// every branch of a `parallel` is a child of that entry.
#[derive(Debug, Default)]
pub struct Branch {
    path: Vec<u32>,
    last: AtomicU32,
}

impl Branch {
    pub fn root() -> Self {
        Self::default()
    }

    /// The main line of what goes on without being run again, behind the entry of this number.
    pub fn root_after(last: u32) -> Self {
        Self { path: Vec::new(), last: AtomicU32::new(last) }
    }

    /// Where the closures of `on_finish` run.
    pub fn finishing() -> Self {
        Self::child(&Seq::beside(), 0)
    }

    /// Where a run is taken back, or made ready to go on; `attempt` is how often it was opened again.
    pub fn beside_script(attempt: u32) -> Self {
        Self::child(&Seq::beside(), attempt.saturating_add(1))
    }

    /// The next place on this branch.
    pub fn next(&self) -> Seq {
        let mut path = self.path.clone();
        path.push(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        Seq(path)
    }

    /// Branch number `number` (from 1) of the `parallel` at `seq`.
    pub fn child(seq: &Seq, number: u32) -> Self {
        let mut path = seq.0.clone();
        path.push(number);
        Self { path, last: AtomicU32::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_number_their_own_entries() {
        let root = Branch::root();
        assert_eq!(root.next().to_string(), "1");
        let parallel = root.next();
        let second = Branch::child(&parallel, 2);
        assert_eq!(second.next().to_string(), "2.2.1");
        assert_eq!(root.next().to_string(), "3");
        assert_eq!("2.2.1".parse::<Seq>().unwrap().to_string(), "2.2.1");
    }

    #[test]
    fn places_sort_by_number_not_by_text() {
        assert!("2".parse::<Seq>().unwrap() < "10".parse::<Seq>().unwrap());
    }
}
