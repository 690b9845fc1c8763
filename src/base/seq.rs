//! The position of an effect in its run: the same on every replay, whatever the timing of parallel branches.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

/// A position in a run: a path of numbers from 1. `12` is the twelfth entry of the main branch, and `12.2.3` is the
/// third entry of the second branch of the `parallel` at 12.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seq(Vec<u32>);

impl Seq {
    /// Returns its numbers, outermost first. All but the last are the path of its branch.
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
            .map_err(|_| format!("`{text}` is not a position in a run: write it like `12` or `12.2.3`"))
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
    /// Entry 0, which no script has. What a run does outside its script is numbered below it.
    fn outside_script() -> Self {
        Self(vec![0])
    }

    /// Returns the position at which a safety check of the script is repeated when the run is reopened for the
    /// `attempt`th time.
    pub fn repeated_check(&self, attempt: u32) -> Self {
        let mut path = vec![0, attempt.saturating_add(1), 0];
        path.extend(&self.0);
        Self(path)
    }

    /// Returns whether the script itself requested it.
    pub fn is_from_script(&self) -> bool {
        self.0.first() != Some(&0)
    }

    /// Returns whether a closure of `on_rollback` or `on_finish` requested it.
    pub fn is_in_closure(&self) -> bool {
        self.0.starts_with(&[0, 0])
    }

    /// Returns whether a closure of `on_rollback` requested it.
    pub fn is_in_rollback(&self) -> bool {
        self.0.starts_with(&[0, 0, 0])
    }

    /// Returns whether the closure of `on_rollback` that was registered at `registration` requested it.
    pub fn is_in_rollback_of(&self, registration: &Self) -> bool {
        self.0
            .strip_prefix(&[0, 0, 0])
            .and_then(|path| path.strip_prefix(registration.path()))
            .is_some_and(|rest| !rest.is_empty())
    }

    /// Returns whether it comes after `other` on the branch of `other`, or on a branch that contains that one.
    pub fn follows(&self, other: &Self) -> bool {
        let shared = self.0.iter().zip(&other.0).take_while(|(one, two)| one == two).count();
        // Numbers of branches and numbers of entries alternate: branches of one `parallel` do not follow each other.
        let entries_differ = (other.0.len() - shared) % 2 == 1;
        entries_differ && self.0.get(shared).zip(other.0.get(shared)).is_some_and(|(one, two)| one > two)
    }
}

/// A branch of execution, which numbers its own entries. The script's main branch is the root; every branch of a
/// `parallel` is a child of that entry.
#[derive(Debug, Default)]
pub struct Branch {
    path: Vec<u32>,
    last: AtomicU32,
}

impl Branch {
    /// Returns the main branch.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the main branch of a run that continues without a replay, after the entry of this number.
    pub fn root_after(last: u32) -> Self {
        Self { path: Vec::new(), last: AtomicU32::new(last) }
    }

    /// Returns the branch of the closures of `on_finish`.
    pub fn finishing() -> Self {
        Self::child(&Seq::outside_script(), 0)
    }

    /// Returns the branch of the closure of `on_rollback` that was registered at `registration`: the same whichever
    /// process calls it.
    pub fn of_rollback(registration: &Seq) -> Self {
        let path = [0, 0, 0].iter().chain(registration.path()).copied().collect();
        Self { path, last: AtomicU32::new(0) }
    }

    /// Returns whether the script itself runs on it.
    pub fn is_from_script(&self) -> bool {
        self.path.first() != Some(&0)
    }

    /// Returns the branch on which a run is rolled back, or prepared to continue; `attempt` is how often it was
    /// reopened.
    pub fn outside_script(attempt: u32) -> Self {
        Self::child(&Seq::outside_script(), attempt.saturating_add(1))
    }

    /// Returns the next position on this branch.
    pub fn next(&self) -> Seq {
        let mut path = self.path.clone();
        path.push(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        Seq(path)
    }

    /// Returns branch `number` (from 1) of the `parallel` at `seq`.
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
    fn a_closure_has_positions_of_its_own() {
        let registration: Seq = "3.2.1".parse().unwrap();
        let first = Branch::of_rollback(&registration).next();
        assert_eq!(first.to_string(), "0.0.0.3.2.1.1");
        assert!(first.is_in_closure() && !first.is_from_script() && first.is_in_rollback_of(&registration));
        assert!(!first.is_in_rollback_of(&"3.2.2".parse().unwrap()));
        assert!(Branch::child(&first, 2).next().is_in_rollback_of(&registration));
    }

    #[test]
    fn what_follows_is_on_the_same_branch_or_on_a_containing_one() {
        let follows = |one: &str, two: &str| one.parse::<Seq>().unwrap().follows(&two.parse().unwrap());
        assert!(follows("5", "4") && follows("5.1.1", "4") && follows("5", "4.1.7") && follows("4.1.8", "4.1.7"));
        assert!(!follows("4", "4") && !follows("4", "5") && !follows("4", "4.1.7") && !follows("4.2.1", "4.1.7"));
        assert!(follows("0.0.0.2.5", "0.0.0.2.4"));
    }

    #[test]
    fn positions_sort_by_number_not_by_text() {
        assert!("2".parse::<Seq>().unwrap() < "10".parse::<Seq>().unwrap());
    }
}
