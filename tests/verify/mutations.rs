//! Puts common mistakes into the shipped scripts, one at a time: `verify` finds them at depth 1.

use crate::fixture::{depth, is_full_sweep, limits, search_for_first};
use crate::mistakes::{Mistake, mistakes};

/// Returns whether `verify` finds a mistake.
fn is_found(mistake: &Mistake) -> bool {
    let target = mistake.apply_to(&mistake.case());
    // A script that fails without faults needs no search.
    search_for_first(&target, &limits(depth())).map_or(true, |found| !found.violations.is_empty())
}

/// Mistakes without a visible effect. If the start fails, the bake that follows waits for the health of the same
/// container and fails instead, and everything is rolled back.
const HARMLESS: [&str; 1] = ["an error of the start is ignored"];

/// Tries every third mistake, because all of them take minutes. To try all:
/// `DEPLOYER_SWEEP=all cargo test --release --test verify mutations`.
const SAMPLE: usize = 3;

#[test]
fn mistakes_are_found_at_depth_1() {
    let mistakes = mistakes();
    assert!(mistakes.len() >= 30, "only {}", mistakes.len());
    let tried: Vec<&Mistake> = mistakes.iter().step_by(if is_full_sweep() { 1 } else { SAMPLE }).collect();
    let missed: Vec<&str> = tried.iter().filter(|mistake| !is_found(mistake)).map(|mistake| mistake.name).collect();
    println!("{} of {} were found", tried.len() - missed.len(), tried.len());
    let missed: Vec<&str> = missed.into_iter().filter(|name| !HARMLESS.contains(name)).collect();
    assert!(missed.is_empty(), "{} of {} were not found: {missed:#?}", missed.len(), tried.len());
}
