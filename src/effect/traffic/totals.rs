//! What a target did since it was first reached, in numbers that only grow: what a canary is judged by.

use serde::{Deserialize, Serialize};

/// Never goes back but when the proxy is replaced, so that the difference of two looks is exactly what happened between
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Requests whose end is the target's doing: neither the visitor nor a drain cut them short.
    pub judged: u64,
    /// Of these: without a whole answer, or with a status of 500 and above.
    pub failed: u64,
    /// How long the others took: step and count, those that occurred. See [`latency_step`].
    pub latencies: Vec<(u16, u64)>,
}

/// The steps of latencies for each doubling: each is 2.2 % longer than the one before.
pub const STEPS_PER_DOUBLING: u16 = 32;
/// The last step holds all that took longer than 67 s.
pub const LAST_STEP: u16 = 20 * STEPS_PER_DOUBLING;
/// The end of step 0, in micro seconds.
const FIRST_STEP: f64 = 64.0;

/// The step that a latency falls on: step `n` ends with [`latency_of`]`(n)`.
pub fn latency_step(micros: u64) -> u16 {
    let step = (f64::from(STEPS_PER_DOUBLING) * (micros as f64 / FIRST_STEP).log2()).ceil();
    step.clamp(0.0, f64::from(LAST_STEP)) as u16
}

/// The end of a step, in milliseconds.
pub fn latency_of(step: u16) -> f64 {
    FIRST_STEP * (f64::from(step) / f64::from(STEPS_PER_DOUBLING)).exp2() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_lies_below_the_end_of_its_step() {
        assert_eq!((latency_step(0), latency_step(64), latency_step(u64::MAX)), (0, 0, LAST_STEP));
        for micros in [65, 100, 1_000, 25_000, 1_000_000, 60_000_000] {
            let (step, ms) = (latency_step(micros), micros as f64 / 1_000.0);
            assert!(latency_of(step) >= ms && latency_of(step - 1) < ms, "{micros}: {step}");
        }
    }
}
