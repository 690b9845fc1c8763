//! Totals of a target since it was first reached. Canaries are judged by them.

use serde::{Deserialize, Serialize};

/// Totals of a target. They only grow until the proxy is replaced, so the difference between two reads is exactly what
/// happened between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetTotals {
    /// Requests whose end is due to the target: neither the client nor a drain cut them.
    pub judged: u64,
    /// Of these, those without a complete answer or with a status of 500 and above.
    pub failed: u64,
    /// How long the others took: step and count, without empty steps. See [`latency_step`].
    pub latencies: Vec<(u16, u64)>,
}

/// The number of histogram steps per doubling of the latency: each step is 2.2 % longer than the one before.
pub const STEPS_PER_DOUBLING: u16 = 32;
/// The last step holds all that took longer than 67 s.
pub const LAST_STEP: u16 = 20 * STEPS_PER_DOUBLING;
/// The end of step 0, in microseconds.
const FIRST_STEP: f64 = 64.0;

/// Returns the step of a latency: step `n` ends at [`latency_of`]`(n)`.
pub fn latency_step(micros: u64) -> u16 {
    let step = (f64::from(STEPS_PER_DOUBLING) * (micros as f64 / FIRST_STEP).log2()).ceil();
    step.clamp(0.0, f64::from(LAST_STEP)) as u16
}

/// Returns the end of a step, in milliseconds.
pub fn latency_of(step: u16) -> f64 {
    FIRST_STEP * (f64::from(step) / f64::from(STEPS_PER_DOUBLING)).exp2() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_below_the_end_of_its_step() {
        assert_eq!((latency_step(0), latency_step(64), latency_step(u64::MAX)), (0, 0, LAST_STEP));
        for micros in [65, 100, 1_000, 25_000, 1_000_000, 60_000_000] {
            let (step, ms) = (latency_step(micros), micros as f64 / 1_000.0);
            assert!(latency_of(step) >= ms && latency_of(step - 1) < ms, "{micros}: {step}");
        }
    }
}
