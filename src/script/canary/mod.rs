//! `canary_since` and `canary_judge`. Pure functions: they perform no effect, write no journal entry and return the same
//! result in every replay.

mod evidence;
mod judge;
#[cfg(test)]
mod tests;

use rhai::{Dynamic, EvalAltResult, Map, Module, NativeCallContext, Position};
use serde::Deserialize;

use super::diagnostic::error_value;
use super::functions::Functions;
use super::host::Rhai;
use super::value::{from_json, to_json};
use crate::base::suggest::did_you_mean;
use crate::effect::traffic::TargetTotals;
use crate::effect::{EffectError, ErrorKind};
use judge::{CanaryLimits, judge};

/// The part of a target's statistics that is used.
#[derive(Deserialize)]
struct TargetStats {
    total: TargetTotals,
}

const OPTIONS: [&str; 6] =
    ["alpha", "min_points", "max_error_rate_increase", "max_latency_ratio", "max_error_rate", "max_p99_ms"];

/// Registers both functions.
pub fn register(module: &mut Module) {
    module.add("canary_since", |context: NativeCallContext, later: Dynamic, earlier: Dynamic| -> Rhai<Dynamic> {
        let invalid_call = |why: String| invalid("canary_since", why, context.call_position());
        let Some(later) = totals(&later).map_err(invalid_call)? else { return Ok(Dynamic::UNIT) };
        let since = match totals(&earlier).map_err(invalid_call)? {
            Some(earlier) => difference(later, &earlier),
            None => later,
        };
        let value = serde_json::json!({ "total": since });
        Ok(from_json(value))
    });
    module.add(
        "canary_judge",
        |context: NativeCallContext, baseline: Dynamic, candidate: Dynamic, options: Map| -> Rhai<Dynamic> {
            let invalid_call = |why: String| invalid("canary_judge", why, context.call_position());
            let limits = limits(options).map_err(invalid_call)?;
            let (old, new) = (totals(&baseline).map_err(invalid_call)?, totals(&candidate).map_err(invalid_call)?);
            let judgement = judge(old.as_ref(), new.as_ref(), &limits);
            let value = serde_json::to_value(judgement).map_err(|error| invalid_call(error.to_string()))?;
            Ok(from_json(value))
        },
    );
}

fn invalid(name: &str, why: String, position: Position) -> Box<EvalAltResult> {
    let error = EffectError::new(ErrorKind::Invalid, format!("`{name}`: {why}")).not_applied();
    EvalAltResult::ErrorRuntime(error_value(name, &error), position).into()
}

/// Returns the totals of a target from `traffic_stats`; `None` for `()`.
fn totals(stats: &Dynamic) -> Result<Option<TargetTotals>, String> {
    if stats.is_unit() {
        return Ok(None);
    }
    let stats: TargetStats = serde_json::from_value(to_json(stats)?)
        .map_err(|error| format!("not the statistics of a target from `traffic_stats`: {error}"))?;
    Ok(Some(stats.total))
}

fn limits(options: Map) -> Result<CanaryLimits, String> {
    if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        let hint = did_you_mean(unknown, OPTIONS).unwrap_or_else(|| format!("its options are {}", OPTIONS.join(", ")));
        return Err(format!("there is no option `{unknown}`; {hint}"));
    }
    let given = options.into_iter().filter(|(_, value)| !value.is_unit()).collect();
    let limits: CanaryLimits =
        serde_json::from_value(to_json(&Dynamic::from_map(given))?).map_err(|error| error.to_string())?;
    limits.check()?;
    Ok(limits)
}

/// Returns what happened after `earlier`. If the counters went down, the proxy was restarted and `later` is complete.
fn difference(mut later: TargetTotals, earlier: &TargetTotals) -> TargetTotals {
    let before = |step: u16| earlier.latencies.iter().find(|(known, _)| *known == step).map_or(0, |(_, count)| *count);
    let shrank = later.judged < earlier.judged
        || later.failed < earlier.failed
        || earlier.latencies.iter().any(|(step, count)| {
            later.latencies.iter().find(|(known, _)| known == step).is_none_or(|(_, now)| now < count)
        });
    if shrank {
        return later;
    }
    later.judged -= earlier.judged;
    later.failed -= earlier.failed;
    for (step, count) in &mut later.latencies {
        *count -= before(*step);
    }
    later.latencies.retain(|(_, count)| *count > 0);
    later
}
