//! Judges a canary: compares the new version with the old one over the same time. Works on given totals.
//!
//! A canary is judged repeatedly on a growing set of requests. Each criterion is therefore an e-value of
//! [`super::evidence`], and the false-alarm rate `alpha` holds for all criteria and all judgements together.
//!
//! - *Errors*: evidence against the claim that the new version's error rate is at most the old one's plus
//!   `max_error_rate_increase`.
//! - *Latency*: evidence against the claim that the new version is at most `max_latency_ratio` times as slow at every
//!   percentile. That is: for every limit, the share of its requests above the limit times the ratio is at most the old
//!   one's share above the limit. There are eight limits per doubling, and their e-values are averaged. A shift of any
//!   percentile is detected without choosing one.
//! - *Budgets*, if given: `max_error_rate`, and `max_p99_ms` (at most one request in a hundred is slower).

use serde::{Deserialize, Serialize};

use super::evidence::{Share, against_limit, against_not_greater, mean};
use crate::effect::traffic::{LAST_STEP, STEPS_PER_DOUBLING, TargetTotals, latency_of, latency_step};

/// Latency steps between two limits.
const LIMIT_STRIDE: u16 = STEPS_PER_DOUBLING / 8;
/// Above this error rate, the old version is not a usable baseline.
const MAX_BASELINE_ERRORS: f64 = 0.5;
/// Minimum number of requests of each version.
const MIN_POINTS: u64 = 50;
/// Upper limit of reported evidence.
const MAX_EVIDENCE: f64 = 1e9;

/// How much worse the new version may be, and how sure a verdict must be.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryLimits {
    /// Probability of a false alarm over all criteria and judgements. Default: 0.05.
    pub alpha: f64,
    /// Requests that each version must have had. Default and minimum: 50.
    pub min_points: u64,
    /// Allowed increase of the error rate. Default: 0.005, half a percentage point.
    pub max_error_rate_increase: f64,
    /// Allowed latency relative to the old version. Default: 1.1, ten per cent slower.
    pub max_latency_ratio: f64,
    /// Allowed error rate of the new version. Default: none.
    pub max_error_rate: Option<f64>,
    /// Allowed p99 latency of the new version, in milliseconds. Default: none.
    pub max_p99_ms: Option<f64>,
}

impl Default for CanaryLimits {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            min_points: MIN_POINTS,
            max_error_rate_increase: 0.005,
            max_latency_ratio: 1.1,
            max_error_rate: None,
            max_p99_ms: None,
        }
    }
}

impl CanaryLimits {
    /// Checks that every limit is in its range.
    ///
    /// # Errors
    /// Returns a message that names the limit.
    pub fn check(&self) -> Result<(), String> {
        let share = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("`{name}` must be at least 0 and less than 1")),
        };
        if !(self.alpha > 0.0 && self.alpha <= 0.5) {
            return Err("`alpha` must be greater than 0 and at most 0.5".into());
        }
        if self.min_points < MIN_POINTS {
            return Err(format!("`min_points` must be at least {MIN_POINTS}"));
        }
        share("max_error_rate_increase", self.max_error_rate_increase)?;
        share("max_error_rate", self.max_error_rate.unwrap_or_default())?;
        if !(1.0..=100.0).contains(&self.max_latency_ratio) {
            return Err("`max_latency_ratio` must be between 1 and 100".into());
        }
        if self.max_p99_ms.is_some_and(|most| !(most > 0.0 && most.is_finite())) {
            return Err("`max_p99_ms` must be greater than 0".into());
        }
        Ok(())
    }
}

/// The verdict on a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryVerdict {
    /// Enough requests, and no sign that the new version is worse than allowed.
    Pass,
    /// The new version is worse than allowed. A false alarm has at most the probability `alpha`.
    Fail,
    /// There is no usable baseline or no data.
    Error,
    /// Too few requests, or the new version looks worse, but the difference may be random.
    Inconclusive,
}

/// The verdict and the figures behind it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: CanaryVerdict,
    /// Why the verdict is not `pass`.
    pub reasons: Vec<String>,
    /// Figures of the old version.
    pub baseline: VersionFigures,
    /// Figures of the new version.
    pub candidate: VersionFigures,
    /// E-value of each criterion. A criterion fails when its e-value reaches `needed`.
    pub evidence: Vec<Criterion>,
    /// E-value from which a criterion fails.
    pub needed: f64,
}

/// Figures of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct VersionFigures {
    /// Requests that were judged.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Share of failed requests, from 0 to 1.
    pub error_rate: f64,
    /// Median latency of answered requests, in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile of latency, in milliseconds.
    pub p90_ms: f64,
    /// 99th percentile of latency, in milliseconds.
    pub p99_ms: f64,
}

/// The evidence of one criterion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Criterion {
    /// `errors`, `latency`, `error_rate` or `p99`.
    pub name: &'static str,
    /// Its e-value.
    pub evidence: f64,
}

/// Judges a canary. `None` stands for a version without figures.
pub fn judge(baseline: Option<&TargetTotals>, candidate: Option<&TargetTotals>, limits: &CanaryLimits) -> Judgement {
    let figures_of = |totals: Option<&TargetTotals>| totals.map(figures).unwrap_or_default();
    let mut judgement = Judgement {
        verdict: CanaryVerdict::Error,
        reasons: Vec::new(),
        baseline: figures_of(baseline),
        candidate: figures_of(candidate),
        evidence: Vec::new(),
        needed: 0.0,
    };
    let (Some(old), Some(new)) = (baseline, candidate) else {
        let missing = if baseline.is_none() { "old" } else { "new" };
        judgement.reasons.push(format!("there are no statistics of the {missing} version"));
        return judgement;
    };
    let (old_side, new_side) = (judgement.baseline, judgement.candidate);
    let criteria = criteria(old, new, limits, (old_side, new_side));
    let needed = criteria.len() as f64 / limits.alpha;
    judgement.needed = needed;
    judgement.evidence =
        criteria.iter().map(|(name, log, _)| Criterion { name, evidence: log.exp().min(MAX_EVIDENCE) }).collect();
    let failed = criteria.iter().filter(|(_, log, _)| *log >= needed.ln()).map(|(.., why)| why.clone());
    judgement.reasons = failed.collect();
    if !judgement.reasons.is_empty() {
        judgement.verdict = CanaryVerdict::Fail;
    } else if old_side.requests >= limits.min_points && old_side.error_rate > MAX_BASELINE_ERRORS {
        let why =
            format!("the old version is not a usable baseline: {} of its requests fail", percent(old_side.error_rate));
        judgement.reasons.push(why);
    } else {
        judgement.reasons = doubts((old_side, new_side), (old, new), limits, &criteria);
        judgement.verdict =
            if judgement.reasons.is_empty() { CanaryVerdict::Pass } else { CanaryVerdict::Inconclusive };
    }
    judgement
}

/// Name, logarithm of the e-value, and reason of a criterion.
type NamedEvidence = (&'static str, f64, String);

fn criteria(
    old: &TargetTotals,
    new: &TargetTotals,
    limits: &CanaryLimits,
    (a, b): (VersionFigures, VersionFigures),
) -> Vec<NamedEvidence> {
    let errors = against_not_greater(failed_share(old), failed_share(new), limits.max_error_rate_increase);
    let compare =
        |what: &str, new: String, old: String| format!("{what}: {new}, compared with {old} of the old version");
    let mut criteria = vec![
        ("errors", errors, compare("failed requests", percent(b.error_rate), percent(a.error_rate))),
        (
            "latency",
            latency_evidence(old, new, limits.max_latency_ratio),
            compare("slower", milliseconds(b), milliseconds(a)),
        ),
    ];
    if let Some(most) = limits.max_error_rate {
        let why = format!("failed requests: {}, more than {}", percent(b.error_rate), percent(most));
        criteria.push(("error_rate", against_limit(failed_share(new), most), why));
    }
    if let Some(most) = limits.max_p99_ms {
        let step = latency_step((most * 1_000.0) as u64);
        let why = format!("p99: {:.1} ms, more than {most} ms", b.p99_ms);
        criteria.push(("p99", against_limit(share_above(new, step), 0.01), why));
    }
    criteria
}

/// Returns why the verdict is not a pass yet.
fn doubts(
    (old, new): (VersionFigures, VersionFigures),
    totals: (&TargetTotals, &TargetTotals),
    limits: &CanaryLimits,
    criteria: &[NamedEvidence],
) -> Vec<String> {
    let mut doubts = Vec::new();
    for (name, side, totals) in [("old", old, totals.0), ("new", new, totals.1)] {
        let answered: u64 = totals.latencies.iter().map(|(_, count)| count).sum();
        if side.requests < limits.min_points {
            let least = limits.min_points;
            doubts.push(format!("the {name} version had {} requests, {least} are needed", side.requests));
        } else if answered < limits.min_points && name == "old" {
            doubts.push(format!("the {name} version answered only {answered} requests"));
        }
    }
    if !doubts.is_empty() {
        return doubts;
    }
    let more_errors = new.error_rate > old.error_rate + limits.max_error_rate_increase;
    let over = limits.max_error_rate.is_some_and(|most| new.error_rate > most);
    let slower = new.p50_ms > old.p50_ms * limits.max_latency_ratio;
    let leans = |name: &str| criteria.iter().any(|(known, log, _)| *known == name && *log > 0.0);
    for (name, suspected) in [
        ("errors", more_errors || leans("errors")),
        ("latency", slower || leans("latency")),
        ("error_rate", over || leans("error_rate")),
        ("p99", leans("p99")),
    ] {
        if let Some((.., why)) = criteria.iter().find(|(known, ..)| *known == name && suspected) {
            doubts.push(format!("{why}; the difference may be random"));
        }
    }
    doubts
}

fn failed_share(totals: &TargetTotals) -> Share {
    Share::new(totals.failed, totals.judged)
}

/// Returns the share of answered requests above a latency step.
fn share_above(totals: &TargetTotals, step: u16) -> Share {
    let count = |from: u16| totals.latencies.iter().filter(|(at, _)| *at >= from).map(|(_, count)| count).sum();
    Share::new(count(step + 1), count(0))
}

/// Returns the evidence against: at most `ratio` times as slow.
fn latency_evidence(old: &TargetTotals, new: &TargetTotals, ratio: f64) -> f64 {
    let shift = (ratio.log2() * f64::from(STEPS_PER_DOUBLING)).ceil() as u16;
    let limits = (0..LAST_STEP - shift).step_by(usize::from(LIMIT_STRIDE));
    let logs = limits.map(|limit| {
        let (old, new) = (share_above(old, limit), share_above(new, limit + shift));
        // Understates the evidence, which is safe and saves most of the work.
        if new.rate() <= old.rate() { f64::NEG_INFINITY } else { against_not_greater(old, new, 0.0) }
    });
    mean(&logs.collect::<Vec<_>>())
}

fn figures(totals: &TargetTotals) -> VersionFigures {
    let answered: u64 = totals.latencies.iter().map(|(_, count)| count).sum();
    let at = |quantile: f64| {
        let mut rest = (quantile * answered as f64).ceil().max(1.0) as u64;
        let step = totals.latencies.iter().find(|(_, count)| {
            let here = *count >= rest;
            rest = rest.saturating_sub(*count);
            here
        });
        step.map_or(0.0, |(step, _)| (latency_of(*step) * 100.0).round() / 100.0)
    };
    VersionFigures {
        requests: totals.judged,
        failed: totals.failed,
        error_rate: failed_share(totals).rate().unwrap_or_default(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
    }
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn milliseconds(figures: VersionFigures) -> String {
    format!("p50 {:.1} ms, p99 {:.1} ms", figures.p50_ms, figures.p99_ms)
}
