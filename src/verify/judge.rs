//! Checks every property against one simulated run. Knows the record of the run, not how it was made.

use super::baseline::{Baseline, Form, Serving, comparable, difference, forms};
use super::property::{Finding, Property};
use super::simulated_run::{NOT_BEGUN, SimulatedRun};
use super::target::Gap;
use super::uncalled_closures::uncalled_closures;
use crate::base::without_times::without_times;
use crate::effect::fault::{FaultKind, SLOW_MS};
use crate::journal::entry::{RunEnd, RunStatus};
use crate::world::sim::Row;

/// The longest outage when the engine restarts, or an app exits or becomes unhealthy by itself: no script can know in
/// advance, and noticing it takes time.
const UNFORESEEN_MS: u64 = 10_000;

/// Returns every violation.
pub fn judge(baseline: &Baseline, gap: Option<Gap>, run: &SimulatedRun) -> Vec<Finding> {
    let mut found = Vec::new();
    if run.overrun {
        let minutes = (run.ended_ms - run.began_ms) / 60_000;
        found.push(finding(
            Property::WaitsEnd,
            format!("the run was stopped after {minutes} minutes of virtual time: it exceeded its limits"),
        ));
        return found;
    }
    // Without a live version before the run, there is none after a rollback.
    let must_serve = baseline.old.image.is_some() || run.end.as_ref().is_ok_and(|end| end.committed);
    let gap = gap.unwrap_or(Gap::stated(run.stated_gap_ms));
    found.extend(must_serve.then(|| serving(gap, run)).flatten());
    let by_itself = [FaultKind::Dies, FaultKind::BecomesUnhealthy, FaultKind::DaemonRestarts];
    if !by_itself.iter().any(|fault| run.attempt.has(*fault)) {
        found.extend(run.misdirected.iter().map(|(at, target)| Finding {
            property: Property::Targets,
            what: format!("requests went to `{target}`, which does not answer"),
            at_ms: Some(at.saturating_sub(run.began_ms)),
        }));
    }
    found.extend(run.cut_off.first().map(|(at, name)| Finding {
        property: Property::CutOff,
        what: format!("container `{name}` was killed while it answered clients"),
        at_ms: Some(at - run.began_ms),
    }));
    found.extend(rows(run));
    found.extend(ending(baseline, run));
    found.extend(run.done_twice().first().map(|what| finding(Property::NotTwice, format!("`{what}` was done twice"))));
    let end = run.end.as_ref().ok().map(|end| end.status);
    let uncalled = uncalled_closures(&run.records, &run.called, end);
    found.extend(uncalled.first().map(|what| finding(Property::Closures, what.clone())));
    if run.leaked {
        found.push(finding(Property::Secrets, "the value of a secret is in the journal"));
    }
    found.extend(run.broken.iter().map(|broken| Finding {
        property: Property::Expected,
        what: match &broken.why {
            None => format!("violated: {}", broken.sentence),
            Some(why) => format!("unknown: {} ({why})", broken.sentence),
        },
        at_ms: Some(broken.at_ms.saturating_sub(run.began_ms)),
    }));
    found
}

fn finding(property: Property, what: impl Into<String>) -> Finding {
    Finding { property, what: what.into(), at_ms: None }
}

/// Returns the first outage that is longer than allowed.
fn serving(gap: Gap, run: &SimulatedRun) -> Option<Finding> {
    let faults = &run.attempt.0;
    let count = |wanted| u64::try_from(run.attempt.faults().filter(|(_, fault)| *fault == wanted).count()).unwrap_or(0);
    let unforeseen =
        [FaultKind::DaemonRestarts, FaultKind::Dies, FaultKind::BecomesUnhealthy].map(count).iter().sum::<u64>();
    // A resumed run must notice it again.
    let noticed = 1 + u64::from(run.attempt.crash().is_some());
    let forgiven = count(FaultKind::Slow) * SLOW_MS + unforeseen * noticed * UNFORESEEN_MS;
    let allowed = if faults.is_empty() { gap.calm_ms } else { gap.troubled_ms + forgiven };
    let from_first = run.spells.iter().skip_while(|spell| !spell.result.is_good());
    let mut outage: Option<(u64, u64, String)> = None;
    let mut worst = None;
    for spell in from_first {
        if spell.result.is_good() {
            outage = None;
            continue;
        }
        let (from, _, saw) = outage.unwrap_or_else(|| (spell.from_ms, spell.to_ms, spell.result.to_string()));
        if spell.to_ms - from > allowed && worst.is_none() {
            worst = Some(from);
        }
        outage = Some((from, spell.to_ms, saw));
    }
    let at = |from: u64| Some(from.saturating_sub(run.began_ms));
    if let Some((from, _, saw)) = outage {
        let what = format!("{saw}, and there is no answer at the end");
        return Some(Finding { property: Property::Serving, what, at_ms: at(from) });
    }
    let from = worst?;
    let outage = run.spells.iter().filter(|spell| spell.from_ms >= from).take_while(|spell| !spell.result.is_good());
    let (mut lasted, mut saw) = (0, String::new());
    for spell in outage {
        lasted += spell.duration_ms();
        saw = spell.result.to_string();
    }
    let what = format!("{saw} for {}", seconds(lasted));
    Some(Finding { property: Property::Serving, what, at_ms: at(from) })
}

/// Formats milliseconds as seconds.
pub fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

fn rows(run: &SimulatedRun) -> Option<Finding> {
    run.rows_before.iter().find_map(|((place, table), rows)| {
        let now = run.rows_after.get(&(place.clone(), table.clone()));
        let mut left: Vec<&Row> = now.into_iter().flatten().collect();
        let is_lost = |row: &&Row| match left.iter().position(|now| is_same_row(row, now)) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        };
        let lost = rows.iter().filter(is_lost).count();
        let what = || format!("{lost} of {} rows of `{table}` in {place} are gone", rows.len());
        (lost > 0).then(|| finding(Property::Rows, what()))
    })
}

/// Returns whether two rows agree in the columns that both have. A migration may add and drop columns.
fn is_same_row(before: &Row, after: &Row) -> bool {
    let mut shared = before.iter().filter_map(|(column, value)| Some((value, after.get(column)?))).peekable();
    shared.peek().is_some() && shared.all(|(before, after)| before == after)
}

fn ending(baseline: &Baseline, run: &SimulatedRun) -> Vec<Finding> {
    let end = match &run.end {
        Ok(end) => end,
        // The run is not in the journal, and it did nothing.
        Err(why) if why == NOT_BEGUN => return Vec::new(),
        Err(why) => return vec![finding(Property::End, format!("the run stays open: {why}"))],
    };
    let now = Serving::after(run);
    let serves_new = is_new(baseline, &now);
    let is_warned_of = |what: &str| {
        let name = what.split('`').nth(1).unwrap_or_default();
        run.warnings().any(|warning| {
            warning.contains(&format!("'{name}'"))
                || warning.contains(&format!("`{name}`"))
                || warning.split_whitespace().any(|word| word.trim_matches(['`', '\'', ',', ':']) == name)
        })
    };
    match end.status {
        RunStatus::Stuck if end.remaining.iter().all(|remaining| remaining.command.is_none()) => {
            vec![finding(Property::End, "the run ends stuck without a command to type")]
        }
        RunStatus::Stuck => Vec::new(),
        RunStatus::Running => vec![finding(Property::End, "the run stays open")],
        _ if end.status == RunStatus::Succeeded || end.committed => {
            if !serves_new {
                let property = if now == baseline.old && end.status == RunStatus::Succeeded {
                    Property::ExitCode
                } else {
                    Property::End
                };
                let who = now.image.as_deref().map_or("there is no answer".into(), |image| format!("{image} answers"));
                return vec![finding(property, format!("the run {} and {who}", status_words(end)))];
            }
            // The next deploy removes what an abort leaves after the point of no return.
            if end.status == RunStatus::Aborted {
                return Vec::new();
            }
            let left = left_after_success(baseline, run);
            let unwarned: Vec<String> = left.into_iter().filter(|what| !is_warned_of(what)).collect();
            unwarned.first().map(|what| finding(Property::LeftOver, what.clone())).into_iter().collect()
        }
        _ => {
            let changes = difference(&comparable(&run.before), &comparable(&run.after));
            let unwarned: Vec<&String> = changes.iter().filter(|what| !is_warned_of(what)).collect();
            let Some(first) = unwarned.first() else { return Vec::new() };
            if serves_new && !is_new(baseline, &baseline.old) && !run.warnings().any(|text| text.contains("serves")) {
                let what = format!("the run {} and the new release answers", status_words(end));
                return vec![finding(Property::ExitCode, what)];
            }
            if serves_new && !is_new(baseline, &baseline.old) {
                return Vec::new();
            }
            let whole = run.before.containers.iter().all(|(name, was)| run.after.containers.get(name) == Some(was));
            let property = if whole { Property::LeftOver } else { Property::End };
            vec![finding(property, format!("the run {}, and {first}", status_words(end)))]
        }
    }
}

/// Returns whether the new release answers.
fn is_new(baseline: &Baseline, now: &Serving) -> bool {
    let replaced = baseline.new.id != baseline.old.id;
    now.image == baseline.new.image && (!replaced || now.id != baseline.old.id)
}

fn left_after_success(baseline: &Baseline, run: &SimulatedRun) -> Vec<String> {
    let (good, now) = (&baseline.forms, forms(&run.after));
    let candidate =
        |name: &String| now.get(name).is_some_and(Form::is_candidate) && !run.before.containers.contains_key(name);
    let more = now
        .keys()
        .filter(|name| !good.contains_key(*name) || candidate(name))
        .map(|name| format!("container `{name}` is left"));
    let less = good.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("container `{name}` is missing"));
    let other = good.iter().filter(|(name, form)| now.get(*name).is_some_and(|now| now != *form));
    let other = other.map(|(name, _)| format!("container `{name}` is not as a good run leaves it"));
    let mut all: Vec<String> = more.chain(less).chain(other).collect();
    let names = |what: &str, good: Vec<&String>, now: Vec<&String>| -> Vec<String> {
        now.into_iter().filter(|name| !good.contains(name)).map(|name| format!("{what} `{name}` is left")).collect()
    };
    let after = comparable(&run.after);
    let good = comparable(&baseline.after);
    all.extend(names("image", good.images.keys().collect(), after.images.keys().collect()));
    // A snapshot has the time in its name: as many are left as a good run leaves.
    let mut kept: Vec<String> = good.volumes.keys().map(|name| without_times(name)).collect();
    for name in after.volumes.keys() {
        match kept.iter().position(|kept| *kept == without_times(name)) {
            Some(at) => drop(kept.swap_remove(at)),
            None => all.push(format!("volume `{name}` is left")),
        }
    }
    all.extend(names("network", good.networks.keys().collect(), after.networks.keys().collect()));
    all.extend(names("lock", good.locks.keys().collect(), after.locks.keys().collect()));
    all
}

fn status_words(end: &RunEnd) -> String {
    match end.status {
        RunStatus::Succeeded => "succeeds (exit 0)".into(),
        other => format!("ends `{other}` (exit {})", end.exit_code),
    }
}
