//! How much of a long sweep the suite makes.

/// Every third one; all of them with `DEPLOYER_SWEEP=all`. No point goes without: the tests of `verify` kill the shipped
/// scripts at each of them.
pub fn sampled<T>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let whole = std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all");
    all.into_iter().step_by(if whole { 1 } else { 3 })
}
