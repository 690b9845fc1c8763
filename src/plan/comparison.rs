//! Whether two plans of one script, made at different times, are the same.

use std::collections::BTreeSet;

use super::Step;
use super::planning::Plan;
use crate::base::without_times::without_times;

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
