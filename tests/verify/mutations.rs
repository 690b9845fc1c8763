//! Mistakes that people make, put into the shipped scripts one at a time: `verify` finds them at depth 1.

use crate::mistakes::{Mistake, mistakes};
use crate::rig::{depth, is_whole, reach, searched_for_one};

/// Whether a mistake is found.
fn is_found(mistake: &Mistake) -> bool {
    let subject = mistake.within(&mistake.scene());
    // A script that fails where nothing goes wrong needs no search.
    searched_for_one(&subject, &reach(depth())).map_or(true, |found| !found.violations.is_empty())
}

/// Changes that change no end. Whether the start failed is asked once more right after it: the bake waits for the health of
/// the same container, fails in its place, and everything is taken back.
const HARMLESS: [&str; 1] = ["an error is swallowed at the start"];

/// Every third one, for they take minutes; all of them: `DEPLOYER_SWEEP=all cargo test --release --test verify mutations`.
const SAMPLE: usize = 3;

#[test]
fn mistakes_are_found_at_depth_1() {
    let mistakes = mistakes();
    assert!(mistakes.len() >= 30, "only {}", mistakes.len());
    let tried: Vec<&Mistake> = mistakes.iter().step_by(if is_whole() { 1 } else { SAMPLE }).collect();
    let missed: Vec<&str> = tried.iter().filter(|mistake| !is_found(mistake)).map(|mistake| mistake.name).collect();
    println!("{} of {} were found", tried.len() - missed.len(), tried.len());
    let missed: Vec<&str> = missed.into_iter().filter(|name| !HARMLESS.contains(name)).collect();
    assert!(missed.is_empty(), "{} of {} were not found: {missed:#?}", missed.len(), tried.len());
}
