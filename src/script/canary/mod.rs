//! What a script asks of a canary's figures: `canary_since` and `canary_judge`. Functions of their arguments alone: no
//! effects, nothing in the journal, the same answer in every replay.

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
use crate::effect::traffic::Totals;
use crate::effect::{EffectError, ErrorKind};
use judge::{Allowed, judge};

/// What is taken of a target's figures.
#[derive(Deserialize)]
struct Figures {
    total: Totals,
}

const OPTIONS: [&str; 6] =
    ["alpha", "min_points", "max_error_rate_increase", "max_latency_ratio", "max_error_rate", "max_p99_ms"];

/// Registers both functions.
pub fn register(module: &mut Module) {
    module.add("canary_since", |context: NativeCallContext, later: Dynamic, earlier: Dynamic| -> Rhai<Dynamic> {
        let wrong = |why: String| thrown("canary_since", why, context.call_position());
        let Some(later) = totals(&later).map_err(wrong)? else { return Ok(Dynamic::UNIT) };
        let since = match totals(&earlier).map_err(wrong)? {
            Some(earlier) => difference(later, &earlier),
            None => later,
        };
        let value = serde_json::json!({ "total": since });
        Ok(from_json(value))
    });
    module.add(
        "canary_judge",
        |context: NativeCallContext, baseline: Dynamic, candidate: Dynamic, options: Map| -> Rhai<Dynamic> {
            let wrong = |why: String| thrown("canary_judge", why, context.call_position());
            let allowed = allowed(options).map_err(wrong)?;
            let (old, new) = (totals(&baseline).map_err(wrong)?, totals(&candidate).map_err(wrong)?);
            let judgement = judge(old.as_ref(), new.as_ref(), &allowed);
            let value = serde_json::to_value(judgement).map_err(|error| wrong(error.to_string()))?;
            Ok(from_json(value))
        },
    );
}

fn thrown(name: &str, why: String, position: Position) -> Box<EvalAltResult> {
    let error = EffectError::new(ErrorKind::Invalid, format!("`{name}`: {why}")).not_applied();
    EvalAltResult::ErrorRuntime(error_value(name, &error), position).into()
}

/// The totals of a target of `traffic_stats`; none of `()`.
fn totals(figures: &Dynamic) -> Result<Option<Totals>, String> {
    if figures.is_unit() {
        return Ok(None);
    }
    let figures: Figures = serde_json::from_value(to_json(figures)?)
        .map_err(|error| format!("these are not the figures of a target from `traffic_stats`: {error}"))?;
    Ok(Some(figures.total))
}

fn allowed(options: Map) -> Result<Allowed, String> {
    if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        let hint = did_you_mean(unknown, OPTIONS).unwrap_or_else(|| format!("it takes {}", OPTIONS.join(", ")));
        return Err(format!("there is no option `{unknown}`; {hint}"));
    }
    let given = options.into_iter().filter(|(_, value)| !value.is_unit()).collect();
    let allowed: Allowed =
        serde_json::from_value(to_json(&Dynamic::from_map(given))?).map_err(|error| error.to_string())?;
    allowed.check()?;
    Ok(allowed)
}

/// What happened after `earlier`. A proxy that was replaced meanwhile began to count anew.
fn difference(mut later: Totals, earlier: &Totals) -> Totals {
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
