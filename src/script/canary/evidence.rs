//! Strength of evidence against a claim about two rates, valid under repeated checking. Pure arithmetic.
//!
//! The measure is an e-value. If the claim is true, the probability that the e-value *ever* reaches `1/alpha` is at most
//! `alpha`, whatever the true rates are (Ville's inequality). It is valid to check after every request and to stop at any
//! time, unlike with tests designed for a single check.
//!
//! For one stream of binary outcomes, take the likelihood mixed over all rates (with the Beta(1/2, 1/2) weights of
//! Jeffreys and of Krichevsky and Trofimov) and divide it by the likelihood of the true rate. The result is a martingale
//! that starts at 1, and so is the product for two streams. The claim allows many pairs of rates; the e-value is the
//! minimum over all of them.
//!
//! - J. Ville, *Étude critique de la notion de collectif*, 1939.
//! - H. Robbins, *Statistical methods related to the law of the iterated logarithm*, 1970: mixtures that are valid at all times.
//! - R. Johari, P. Koomen, L. Pekelis, D. Walsh, *Always valid inference: continuous monitoring of A/B tests*,
//!   Operations Research 70(3), 2022: the same for monitored experiments.
//! - S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, *Time-uniform, nonparametric, nonasymptotic confidence
//!   sequences*, Annals of Statistics 49(2), 2021.
//! - V. Vovk, R. Wang, *E-values: calibration, combination and applications*, Annals of Statistics 49(3), 2021: the mean
//!   of e-values is an e-value, however they depend on each other.
//!
//! Assumption: requests are independent of each other. A burst of errors that hits both versions cancels out in the
//! comparison; one that happens to hit only the new version does not.

/// A count out of a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The count.
    pub hits: u64,
    /// The total.
    pub of: u64,
}

/// Minimum distance of a rate from 0 and 1.
const EDGE: f64 = 1e-12;
/// Iterations of the search for the minimum.
const SEARCH_STEPS: usize = 80;
/// From this value on, Stirling's series is exact to the last digits.
const STIRLING: f64 = 10.0;

impl Share {
    /// Creates a share; `hits` is limited to `of`.
    pub fn new(hits: u64, of: u64) -> Self {
        Self { hits: hits.min(of), of }
    }

    /// Returns the rate; `None` if the total is 0.
    pub fn rate(self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// Returns the logarithm of the martingale of this stream for the true rate `rate`.
    fn against(self, rate: f64) -> f64 {
        let (hits, misses) = (self.hits as f64, (self.of - self.hits) as f64);
        let rate = rate.clamp(EDGE, 1.0 - EDGE);
        let mixed = ln_beta(hits + 0.5, misses + 0.5) - ln_beta(0.5, 0.5);
        mixed - hits * rate.ln() - misses * (1.0 - rate).ln()
    }
}

/// Returns the logarithm of the e-value against: the second rate is at most the first plus `allowance`.
pub fn against_not_greater(first: Share, second: Share, allowance: f64) -> f64 {
    let rates = first.rate().zip(second.rate());
    let Some((low, high)) = rates.filter(|(low, high)| *high > low + allowance) else {
        // The observed rates fit the claim: no evidence.
        let likeliest = |share: Share| share.rate().map_or(0.0, |rate| share.against(rate));
        return (likeliest(first) + likeliest(second)).min(0.0);
    };
    // Otherwise the minimum is on the boundary of the claim, where the function is convex: a ternary search finds it.
    let at = |rate: f64| first.against(rate) + second.against(rate + allowance);
    if allowance == 0.0 {
        return at(Share::new(first.hits + second.hits, first.of + second.of).rate().unwrap_or_default());
    }
    let (mut from, mut to) = (low.min(1.0 - allowance), (high - allowance).max(0.0));
    for _ in 0..SEARCH_STEPS {
        let third = (to - from) / 3.0;
        if at(from + third) < at(to - third) { to -= third } else { from += third }
    }
    at((from + to) / 2.0)
}

/// Returns the logarithm of the e-value against: the rate is at most `limit`.
pub fn against_limit(share: Share, limit: f64) -> f64 {
    match share.rate() {
        Some(rate) if rate > limit => share.against(limit),
        Some(rate) => share.against(rate).min(0.0),
        None => 0.0,
    }
}

/// Returns the logarithm of the mean of e-values, given their logarithms.
pub fn mean(logarithms: &[f64]) -> f64 {
    let most = logarithms.iter().copied().reduce(f64::max).unwrap_or_default();
    if most == f64::NEG_INFINITY {
        return most;
    }
    let sum: f64 = logarithms.iter().map(|logarithm| (logarithm - most).exp()).sum();
    most + (sum / logarithms.len() as f64).ln()
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Returns the logarithm of the gamma function of a positive number, by Stirling's series.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < STIRLING {
        shift -= x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_function_is_right() {
        for (x, known) in
            [(0.5, 0.572_364_942_924_700_1), (1.0, 0.0), (5.0, 24_f64.ln()), (101.0, 363.739_375_555_563_5)]
        {
            assert!((ln_gamma(x) - known).abs() < 1e-9, "{x}: {}", ln_gamma(x));
        }
    }

    /// The expected value over all outcomes is 1, as a martingale requires.
    #[test]
    fn the_martingale_has_expectation_one() {
        for rate in [0.01, 0.3, 0.9] {
            let of = 30_u64;
            let probability = |hits: u64| {
                let choose =
                    ln_gamma(of as f64 + 1.0) - ln_gamma(hits as f64 + 1.0) - ln_gamma((of - hits) as f64 + 1.0);
                choose + hits as f64 * f64::ln(rate) + (of - hits) as f64 * f64::ln(1.0 - rate)
            };
            let mean: f64 = (0..=of).map(|hits| (probability(hits) + Share::new(hits, of).against(rate)).exp()).sum();
            assert!((mean - 1.0).abs() < 1e-9, "{rate}: {mean}");
        }
    }

    #[test]
    fn the_minimum_is_found() {
        let (first, second) = (Share::new(3, 400), Share::new(30, 300));
        let found = against_not_greater(first, second, 0.01);
        let least = (0..=9_900)
            .map(|rate| f64::from(rate) / 10_000.0)
            .map(|rate| first.against(rate) + second.against(rate + 0.01))
            .fold(f64::MAX, f64::min);
        assert!(found <= least + 1e-9 && found > least - 1e-2, "{found} {least}");
        assert!(found > 0.0);
    }

    #[test]
    fn no_data_is_no_evidence() {
        let nothing = Share::default();
        assert_eq!(against_not_greater(nothing, nothing, 0.0), 0.0);
        assert_eq!(against_limit(nothing, 0.1), 0.0);
        assert!(against_not_greater(nothing, Share::new(50, 50), 0.0) <= 0.0);
        assert!(against_not_greater(Share::new(0, 1_000), Share::new(0, 1_000), 0.0) <= 0.0);
        assert!(against_limit(Share::new(50, 50), 0.1) > 50.0);
    }

    #[test]
    fn the_mean_of_large_numbers_does_not_overflow() {
        assert!((mean(&[1_000.0, 1_000.0]) - 1_000.0).abs() < 1e-9);
        assert!((mean(&[0.0, f64::MIN / 2.0]) + 2_f64.ln()).abs() < 1e-9);
    }
}
