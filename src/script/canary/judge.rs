//! The verdict on a canary: the new version against the old one over the same time. Knows totals; asks nobody for them.
//!
//! It is looked at again and again, and every look counts the same requests and more; so each criterion is an e-value of
//! [`super::evidence`], and the level `alpha` holds for all criteria and all looks together.
//!
//! - *Errors*: against the claim that the new version's rate of failed requests is at most the old one's plus
//!   `max_error_rate_increase`.
//! - *Latency*: against the claim that the new version is at most `max_latency_ratio` times as slow, anywhere between
//!   its fastest and its slowest requests: for every limit, no more of its requests exceed the limit times the ratio than
//!   of the old one's exceed the limit. Limits are fixed steps, eight for each doubling; the e-values of all of them are
//!   averaged. Any percentile that moves is seen, without choosing one.
//! - *Budgets*, when they are given: `max_error_rate`, and `max_p99_ms` (at most one request of a hundred is slower).

use serde::{Deserialize, Serialize};

use super::evidence::{Share, against_limit, against_not_greater, mean};
use crate::effect::traffic::{LAST_STEP, STEPS_PER_DOUBLING, Totals, latency_of, latency_step};

/// Steps between two limits.
const STRIDE: u16 = STEPS_PER_DOUBLING / 8;
/// Above this share of failed requests the old version is nothing to compare with.
const BASELINE_BROKEN: f64 = 0.5;
/// Fewer than this many requests are no canary.
const POINTS_LEAST: u64 = 50;
/// Evidence is shown up to here.
const SHOWN_MAX: f64 = 1e9;

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowed {
    /// The chance of a false alarm, over all criteria and all looks. Default 0.05.
    pub alpha: f64,
    /// Requests that each side must have had. Default, and least, 50.
    pub min_points: u64,
    /// Default 0.005: half a per cent more.
    pub max_error_rate_increase: f64,
    /// Default 1.1: ten per cent slower.
    pub max_latency_ratio: f64,
    /// Default: none.
    pub max_error_rate: Option<f64>,
    /// Default: none.
    pub max_p99_ms: Option<f64>,
}

impl Default for Allowed {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            min_points: POINTS_LEAST,
            max_error_rate_increase: 0.005,
            max_latency_ratio: 1.1,
            max_error_rate: None,
            max_p99_ms: None,
        }
    }
}

impl Allowed {
    /// # Errors
    /// Names what is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        let share = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("`{name}` is a number from 0 to less than 1")),
        };
        if !(self.alpha > 0.0 && self.alpha <= 0.5) {
            return Err("`alpha` is a number above 0, and at most 0.5".into());
        }
        if self.min_points < POINTS_LEAST {
            return Err(format!("`min_points` is at least {POINTS_LEAST}"));
        }
        share("max_error_rate_increase", self.max_error_rate_increase)?;
        share("max_error_rate", self.max_error_rate.unwrap_or_default())?;
        if !(1.0..=100.0).contains(&self.max_latency_ratio) {
            return Err("`max_latency_ratio` is a number from 1 to 100".into());
        }
        if self.max_p99_ms.is_some_and(|most| !(most > 0.0 && most.is_finite())) {
            return Err("`max_p99_ms` is a number above 0".into());
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Enough was seen, and nothing speaks against the new version.
    Pass,
    /// It is worse than allowed; by chance alone that is seen in `alpha` of all canaries at the most.
    Fail,
    /// There is nothing to compare with.
    Error,
    /// Too little was seen, or it looks worse, but may be by chance.
    Inconclusive,
}

/// The verdict, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    pub verdict: Verdict,
    /// In words; why it is no pass.
    pub reasons: Vec<String>,
    pub baseline: Side,
    pub candidate: Side,
    /// By criterion: how many times likelier what was seen is if the claim is wrong. From `needed` on it fails.
    pub evidence: Vec<Criterion>,
    pub needed: f64,
}

/// One version's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    pub requests: u64,
    pub failed: u64,
    pub error_rate: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Criterion {
    pub name: &'static str,
    pub evidence: f64,
}

/// Judges; `None` is a version of which there are no figures.
pub fn judge(baseline: Option<&Totals>, candidate: Option<&Totals>, allowed: &Allowed) -> Judgement {
    let side = |totals: Option<&Totals>| totals.map(side).unwrap_or_default();
    let mut judgement = Judgement {
        verdict: Verdict::Error,
        reasons: Vec::new(),
        baseline: side(baseline),
        candidate: side(candidate),
        evidence: Vec::new(),
        needed: 0.0,
    };
    let (Some(old), Some(new)) = (baseline, candidate) else {
        let missing = if baseline.is_none() { "old" } else { "new" };
        judgement.reasons.push(format!("there are no figures of the {missing} version"));
        return judgement;
    };
    let (old_side, new_side) = (judgement.baseline, judgement.candidate);
    let criteria = criteria(old, new, allowed, (old_side, new_side));
    let needed = criteria.len() as f64 / allowed.alpha;
    judgement.needed = needed;
    judgement.evidence =
        criteria.iter().map(|(name, log, _)| Criterion { name, evidence: log.exp().min(SHOWN_MAX) }).collect();
    let failed = criteria.iter().filter(|(_, log, _)| *log >= needed.ln()).map(|(.., why)| why.clone());
    judgement.reasons = failed.collect();
    if !judgement.reasons.is_empty() {
        judgement.verdict = Verdict::Fail;
    } else if old_side.requests >= allowed.min_points && old_side.error_rate > BASELINE_BROKEN {
        let why = format!("the old version fails itself: {}", percent(old_side.error_rate));
        judgement.reasons.push(why);
    } else {
        judgement.reasons = doubts((old_side, new_side), (old, new), allowed, &criteria);
        judgement.verdict = if judgement.reasons.is_empty() { Verdict::Pass } else { Verdict::Inconclusive };
    }
    judgement
}

type Named = (&'static str, f64, String);

fn criteria(old: &Totals, new: &Totals, allowed: &Allowed, (a, b): (Side, Side)) -> Vec<Named> {
    let errors = against_not_greater(failures(old), failures(new), allowed.max_error_rate_increase);
    let compare = |what: &str, new: String, old: String| format!("{what}: {new}, and {old} of the old version");
    let mut criteria = vec![
        ("errors", errors, compare("failed requests", percent(b.error_rate), percent(a.error_rate))),
        ("latency", slower(old, new, allowed.max_latency_ratio), compare("slower", milliseconds(b), milliseconds(a))),
    ];
    if let Some(most) = allowed.max_error_rate {
        let why = format!("failed requests: {}, more than {}", percent(b.error_rate), percent(most));
        criteria.push(("error_rate", against_limit(failures(new), most), why));
    }
    if let Some(most) = allowed.max_p99_ms {
        let step = latency_step((most * 1_000.0) as u64);
        let why = format!("p99: {:.1} ms, more than {most} ms", b.p99_ms);
        criteria.push(("p99", against_limit(beyond(new, step), 0.01), why));
    }
    criteria
}

/// Why it is no pass yet.
fn doubts((old, new): (Side, Side), totals: (&Totals, &Totals), allowed: &Allowed, criteria: &[Named]) -> Vec<String> {
    let mut doubts = Vec::new();
    for (name, side, totals) in [("old", old, totals.0), ("new", new, totals.1)] {
        let answered: u64 = totals.latencies.iter().map(|(_, count)| count).sum();
        if side.requests < allowed.min_points {
            let least = allowed.min_points;
            doubts.push(format!("the {name} version had {} requests, {least} are needed", side.requests));
        } else if answered < allowed.min_points && name == "old" {
            doubts.push(format!("the {name} version answered {answered} requests only"));
        }
    }
    if !doubts.is_empty() {
        return doubts;
    }
    let more_errors = new.error_rate > old.error_rate + allowed.max_error_rate_increase;
    let over = allowed.max_error_rate.is_some_and(|most| new.error_rate > most);
    let slower = new.p50_ms > old.p50_ms * allowed.max_latency_ratio;
    let leans = |name: &str| criteria.iter().any(|(known, log, _)| *known == name && *log > 0.0);
    for (name, suspected) in [
        ("errors", more_errors || leans("errors")),
        ("latency", slower || leans("latency")),
        ("error_rate", over || leans("error_rate")),
        ("p99", leans("p99")),
    ] {
        if let Some((.., why)) = criteria.iter().find(|(known, ..)| *known == name && suspected) {
            doubts.push(format!("{why}; that may be chance"));
        }
    }
    doubts
}

fn failures(totals: &Totals) -> Share {
    Share::new(totals.failed, totals.judged)
}

/// The share of the answered requests that fell beyond a step.
fn beyond(totals: &Totals, step: u16) -> Share {
    let count = |from: u16| totals.latencies.iter().filter(|(at, _)| *at >= from).map(|(_, count)| count).sum();
    Share::new(count(step + 1), count(0))
}

/// Against: at most `ratio` times as slow.
fn slower(old: &Totals, new: &Totals, ratio: f64) -> f64 {
    let shift = (ratio.log2() * f64::from(STEPS_PER_DOUBLING)).ceil() as u16;
    let limits = (0..LAST_STEP - shift).step_by(usize::from(STRIDE));
    let logs = limits.map(|limit| {
        let (old, new) = (beyond(old, limit), beyond(new, limit + shift));
        // Less than it is, which is on the safe side and saves most of the work.
        if new.rate() <= old.rate() { f64::NEG_INFINITY } else { against_not_greater(old, new, 0.0) }
    });
    mean(&logs.collect::<Vec<_>>())
}

fn side(totals: &Totals) -> Side {
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
    Side {
        requests: totals.judged,
        failed: totals.failed,
        error_rate: failures(totals).rate().unwrap_or_default(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
    }
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn milliseconds(side: Side) -> String {
    format!("p50 {:.1} ms, p99 {:.1} ms", side.p50_ms, side.p99_ms)
}
