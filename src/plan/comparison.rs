//! Whether two plans of one script, made at different times, are the same.

use std::collections::BTreeSet;

use super::Step;
use super::planning::Plan;

/// A number with this many digits is a time, which differs between any two plans.
const DIGITS_OF_A_TIME: usize = 6;

impl Plan {
    /// Returns whether the other plan has the same changes and acts on the same containers. Times in names do not count.
    pub fn has_same_steps(&self, other: &Self) -> bool {
        let lacks = |plan: &Self| (plan.missing_secrets.clone(), plan.missing_programs.clone());
        let fails = |plan: &Self| plan.fails.as_ref().map(|failed| without_times(&failed.error));
        self.steps.len() == other.steps.len()
            && self.steps.iter().zip(&other.steps).all(|(one, two)| comparable(one) == comparable(two))
            && fails(self) == fails(other)
            && lacks(self) == lacks(other)
            && self.touched() == other.touched()
    }

    /// Returns the containers that a change names: name, id, and whether each is stopped.
    fn touched(&self) -> BTreeSet<(&str, Option<&str>, bool)> {
        let subjects: BTreeSet<&str> = self.steps.iter().map(|step| step.subject.as_str()).collect();
        let containers = self.scenario.containers.iter();
        containers
            .map(|container| (container.spec.name.as_str(), container.id.as_deref(), container.stopped))
            .filter(|(name, ..)| subjects.contains(name))
            .collect()
    }
}

fn comparable(step: &Step) -> (&str, String, String, Option<&str>) {
    let (subject, args) = (without_times(&step.subject), without_times(&step.args.to_string()));
    (&step.kind, subject, args, step.irreversible.as_deref())
}

/// Replaces the numbers that may be times.
fn without_times(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if digits.len() < DIGITS_OF_A_TIME {
            result.push_str(&digits);
        } else {
            result.push('#');
        }
        digits.clear();
        result.push(c);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::without_times;

    #[test]
    fn only_times_are_masked() {
        assert_eq!(without_times("web-20261201-101112 on 8080"), "web-#-# on 8080\0");
    }
}
