//! How much of a long sweep the suite runs.

/// Every third item, or all items with `DEPLOYER_SWEEP=all`. The tests of `verify` also kill the shipped scripts at
/// every point, so no point is left out.
pub fn sampled<T>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let whole = std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all");
    all.into_iter().step_by(if whole { 1 } else { 3 })
}
