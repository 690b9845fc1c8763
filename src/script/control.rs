//! The words of a script that are no effects: parameters, steps, messages, the point of no return, branches, tries.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use rhai::{Array, Dynamic, Engine, EvalAltResult, EvalContext, Expression, FnPtr, Map, NativeCallContext, Position};

use super::diagnostic::error_value;
use super::host::{Halt, Host, Kept, Rhai, on_branch};
use super::params::{self, Declaration, Param};
use super::stack::spawn;
use super::value::{to_json, type_name, type_phrase};
use crate::base::duration_text::DurationText;
use crate::base::seq::Branch;
use crate::base::suggest::did_you_mean;
use crate::effect::time::Sleep;
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::Gateway;
use crate::journal::Durability;
use crate::journal::entry::{Entry, Level};

/// Most branches of one `parallel`.
const BRANCHES: usize = 64;
/// Most attempts of one `retry`.
const ATTEMPTS: i64 = 1_000;

/// What the delay of a `retry` may grow by from one attempt to the next.
const BACKOFF: RangeInclusive<f64> = 1.0..=10.0;
/// What the delay of a `retry` grows to at the most.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// One word, for checks and help: name, numbers of arguments, what it does, an example.
pub struct Word {
    pub name: &'static str,
    pub arities: &'static [usize],
    pub summary: &'static str,
    pub example: &'static str,
}

/// All of them.
pub const WORDS: &[Word] = &[
    Word {
        name: "params",
        arities: &[1],
        summary: "Declares the script's parameters and returns their values. The first statement of a script.",
        example: "let p = params(#{ service: required(\"string\", \"the service's name\") });",
    },
    Word {
        name: "required",
        arities: &[2],
        summary: "A parameter that must be given: type and meaning. Types: string, int, float, bool, duration, size, list, map.",
        example: "required(\"string\", \"the service's name\")",
    },
    Word {
        name: "optional",
        arities: &[3],
        summary: "A parameter with a default: type, default (() for none) and meaning.",
        example: "optional(\"duration\", \"30s\", \"how long to wait\")",
    },
    Word {
        name: "step",
        arities: &[],
        summary: "Names a part of the script for people: step \"title\" { ... }. Its value is the block's.",
        example: "step \"Check\" { port_free(8081) }",
    },
    Word {
        name: "log",
        arities: &[1],
        summary: "Says something in the run's output and journal.",
        example: "log(\"nothing to do\");",
    },
    Word {
        name: "warn",
        arities: &[1],
        summary: "Says something that people should look at.",
        example: "warn(\"no backup\");",
    },
    Word {
        name: "fail",
        arities: &[1, 2],
        summary: "Ends the script with an error, and what it did is taken back. The second text is a hint.",
        example: "fail(\"the disk is too small\", \"free 2 GB\");",
    },
    Word {
        name: "commit",
        arities: &[0],
        summary: "The point of no return: what was done so far is not taken back any more.",
        example: "commit();",
    },
    Word {
        name: "on_rollback",
        arities: &[1],
        summary: "Registers a closure that is called when the run is taken back, in reverse order among all undos.",
        example: "on_rollback(|| log(\"taken back\"));",
    },
    Word {
        name: "on_finish",
        arities: &[1],
        summary: "Registers a closure that is called last, however the run ends, with a map: status, error, committed.",
        example: "on_finish(|end| log(end.status));",
    },
    Word {
        name: "millis",
        arities: &[1],
        summary: "The length of a duration in milliseconds.",
        example: "millis(\"1m30s\")",
    },
    Word {
        name: "parallel",
        arities: &[1],
        summary: "Runs closures at the same time and returns their values in order, when all have ended. Each has its own copy of outer variables.",
        example: "parallel([|| 1, || 2])",
    },
    Word {
        name: "retry",
        arities: &[2],
        summary: "Calls a closure until it succeeds: #{attempts, delay, backoff}. The last error is passed on.",
        example: "retry(#{attempts: 3, delay: \"1s\"}, || port_free(8081))",
    },
    Word {
        name: "canary_since",
        arities: &[2],
        summary: "What a target of `traffic_stats` did between two looks, the later one first: what `canary_judge` takes. `()` for the earlier look is the beginning.",
        example: "let look = #{ total: #{ judged: 60, failed: 0, latencies: [[300, 60]] } };\nlet lately = canary_since(look, ());",
    },
    Word {
        name: "canary_judge",
        arities: &[3],
        summary: "Judges a new version against the old one over the same time, by a test that may be repeated at will: baseline, candidate, #{alpha (0.05), min_points (50), max_error_rate_increase (0.005), max_latency_ratio (1.1), max_error_rate, max_p99_ms}. Returns verdict (`pass`, `fail`, `error`, `inconclusive`), reasons, baseline and candidate (requests, failed, error_rate, p50_ms, p90_ms, p99_ms), evidence, needed.",
        example: "let look = #{ total: #{ judged: 60, failed: 0, latencies: [[300, 60]] } };\nlet judged = canary_judge(look, look, #{ max_p99_ms: 500 });",
    },
];

/// Registers all of them.
pub fn register(engine: &mut Engine, host: &Arc<Host>) {
    register_params(engine, host);
    register_messages(engine, host);
    register_rollback(engine, host);
    register_flow(engine, host);
    register_step(engine, host);
}

fn thrown(message: impl Into<String>, position: Position) -> Box<EvalAltResult> {
    let error = EffectError::new(ErrorKind::Invalid, message).not_applied();
    EvalAltResult::ErrorRuntime(error_value("script", &error), position).into()
}

fn register_params(engine: &mut Engine, host: &Arc<Host>) {
    engine.register_type_with_name::<Param>("Parameter");
    engine.register_fn("required", |context: NativeCallContext, kind: &str, doc: &str| -> Rhai<Param> {
        params::required(kind, doc).map_err(|why| thrown(why, context.call_position()))
    });
    engine.register_fn(
        "optional",
        |context: NativeCallContext, kind: &str, default: Dynamic, doc: &str| -> Rhai<Param> {
            params::optional(kind, &default, doc).map_err(|why| thrown(why, context.call_position()))
        },
    );
    let host = host.clone();
    engine.register_fn("params", move |context: NativeCallContext, map: Map| -> Rhai<Dynamic> {
        let position = context.call_position();
        if host.declaration().is_some() {
            return Err(thrown("`params` may be called once", position));
        }
        let declaration = Declaration::read(&map).map_err(|why| thrown(format!("params: {why}"), position))?;
        host.declare(declaration.clone());
        let Some(given) = host.given() else { return Err(host.halt(Halt::Declared, position)) };
        let filled = declaration
            .fill(given)
            .map_err(|error| thrown(format!("parameter `{}` {}", error.key, error.message), position))?;
        Ok(params::to_script(filled))
    });
}

fn register_messages(engine: &mut Engine, host: &Arc<Host>) {
    for (name, level) in [("log", Level::Info), ("warn", Level::Warn)] {
        let say = {
            let host = host.clone();
            move |context: &NativeCallContext, text: &Dynamic| -> Rhai<()> {
                let (seq, text) = (Some(host.next_seq()), shown(text));
                host.record(context.call_position(), Entry::Logged { seq, level, text }, Durability::Process)
            }
        };
        let number = say.clone();
        engine.register_fn(name, move |context: NativeCallContext, text: Dynamic| say(&context, &text));
        // Else `log(1.5)` is the logarithm of the language's own packages.
        engine.register_fn(name, move |context: NativeCallContext, text: f64| number(&context, &text.into()));
    }
    let printer = host.clone();
    engine.on_print(move |text| {
        let entry = Entry::Logged { seq: Some(printer.next_seq()), level: Level::Print, text: text.into() };
        // `on_print` cannot fail; a journal that is gone stops the run at its next primitive.
        drop(printer.record(Position::NONE, entry, Durability::Process));
    });
    let fail = |host: &Arc<Host>, position: Position, message: &str, hint: Option<&str>| -> Rhai<()> {
        let error = EffectError::new(ErrorKind::ScriptFailed, message);
        let error = if let Some(hint) = hint { error.hint(hint) } else { error };
        Err(host.raise(position, "fail", error))
    };
    let failing = host.clone();
    engine.register_fn("fail", move |context: NativeCallContext, message: &str| {
        fail(&failing, context.call_position(), message, None)
    });
    let failing = host.clone();
    engine.register_fn("fail", move |context: NativeCallContext, message: &str, hint: &str| {
        fail(&failing, context.call_position(), message, Some(hint))
    });
}

/// A value as text: what `log` and interpolation show.
fn shown(value: &Dynamic) -> String {
    match to_json(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) if type_name(value) == "secret" => {
            value.read_lock::<super::secret::SecretText>().map(|secret| secret.0.to_string()).unwrap_or_default()
        }
        Ok(json) => json.to_string(),
        Err(_) => value.to_string(),
    }
}

fn register_rollback(engine: &mut Engine, host: &Arc<Host>) {
    let committing = host.clone();
    engine.register_fn("commit", move |context: NativeCallContext| -> Rhai<()> {
        let seq = committing.next_seq();
        // The script of a run that is replayed may have come here before the run was taken back.
        let late = |gateway: &Arc<Gateway>| gateway.ledger().unwinding() && !seq.is_of_script();
        if committing.gateway().is_some_and(late) {
            return Err(thrown("`commit` comes too late: the run is being taken back", context.call_position()));
        }
        committing.record(context.call_position(), Entry::Committed { seq }, Durability::Power)
    });
    let rollback = host.clone();
    engine.register_fn("on_rollback", move |context: NativeCallContext, function: FnPtr| -> Rhai<()> {
        let seq = rollback.next_seq();
        let site = rollback.site(&context);
        rollback.keep_rollback(seq.clone(), kept(&context, function));
        rollback.record(context.call_position(), Entry::RollbackRegistered { seq, site }, Durability::Power)
    });
    let finish = host.clone();
    engine.register_fn("on_finish", move |context: NativeCallContext, function: FnPtr| {
        finish.keep_finisher(kept(&context, function));
    });
}

/// A closure with the imports and constants that it can see.
fn kept(context: &NativeCallContext, function: FnPtr) -> Kept {
    Kept { function, global: context.global_runtime_state().clone(), position: context.call_position() }
}

fn register_flow(engine: &mut Engine, host: &Arc<Host>) {
    engine.register_fn("millis", |context: NativeCallContext, duration: &str| -> Rhai<i64> {
        let duration: DurationText = duration.parse().map_err(|why: String| thrown(why, context.call_position()))?;
        Ok(i64::try_from(duration.0.as_millis()).unwrap_or(i64::MAX))
    });
    let branching = host.clone();
    engine.register_fn("parallel", move |context: NativeCallContext, branches: Array| -> Rhai<Array> {
        parallel(&branching, &context, branches)
    });
    let trying = host.clone();
    engine.register_fn("retry", move |context: NativeCallContext, options: Map, function: FnPtr| -> Rhai<Dynamic> {
        retry(&trying, &context, &options, &function)
    });
}

fn parallel(host: &Arc<Host>, context: &NativeCallContext, branches: Array) -> Rhai<Array> {
    let position = context.call_position();
    if branches.len() > BRANCHES {
        return Err(thrown(format!("`parallel` takes at most {BRANCHES} closures, not {}", branches.len()), position));
    }
    let functions: Vec<FnPtr> = branches
        .into_iter()
        .map(|branch| {
            let what = type_phrase(&branch);
            branch.try_cast::<FnPtr>().ok_or_else(|| thrown(format!("`parallel` takes closures, not {what}"), position))
        })
        .collect::<Rhai<_>>()?;
    let seq = host.next_seq();
    let count = u32::try_from(functions.len()).unwrap_or(u32::MAX);
    host.record(position, Entry::ParallelOpened { seq: seq.clone(), branches: count }, Durability::Process)?;
    let results: Vec<Rhai<Dynamic>> = std::thread::scope(|scope| {
        let running: Vec<_> = (1..)
            .zip(functions)
            .map(|(number, mut function)| {
                // Each branch gets its own copy of what it captured: shared values would race and lose updates.
                for captured in function.iter_curry_mut() {
                    *captured = captured.flatten_clone();
                }
                let branch = Branch::child(&seq, number);
                spawn(scope, move || on_branch(branch, || function.call_within_context::<Dynamic>(context, ())))
            })
            .collect();
        running
            .into_iter()
            .map(|branch| match branch.map(ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(crashed("a branch of `parallel` crashed".into(), position)),
                Err(error) => Err(crashed(format!("a branch of `parallel` could not begin: {error}"), position)),
            })
            .collect()
    });
    host.record(position, Entry::ParallelClosed { seq }, Durability::Process)?;
    // What nobody may catch comes first; else the first branch that failed, in the order of the script, whatever the
    // timing was.
    if let Some(ended) = results.iter().position(|result| result.as_ref().is_err_and(|error| !error.is_catchable())) {
        return results.into_iter().skip(ended).collect();
    }
    results.into_iter().collect()
}

fn crashed(message: String, position: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(error_value("parallel", &EffectError::new(ErrorKind::Internal, message)), position)
        .into()
}

fn retry(host: &Arc<Host>, context: &NativeCallContext, options: &Map, function: &FnPtr) -> Rhai<Dynamic> {
    let position = context.call_position();
    const KEYS: [&str; 3] = ["attempts", "delay", "backoff"];
    if let Some(unknown) = options.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = did_you_mean(unknown, KEYS).unwrap_or_else(|| format!("it takes {}", KEYS.join(", ")));
        return Err(thrown(format!("`retry` has no option `{unknown}`; {hint}"), position));
    }
    let given = |key: &str| options.get(key).filter(|value| !value.is_unit());
    let attempts = match given("attempts") {
        None => 3,
        Some(value) => value
            .as_int()
            .ok()
            .filter(|attempts| (1..=ATTEMPTS).contains(attempts))
            .ok_or_else(|| thrown(format!("`retry`: `attempts` must be a number from 1 to {ATTEMPTS}"), position))?,
    };
    let mut delay: DurationText = match given("delay") {
        None => DurationText::secs(1),
        Some(value) => value.to_string().parse().map_err(|why| thrown(format!("`retry`: {why}"), position))?,
    };
    let backoff = match given("backoff") {
        None => 1.0,
        Some(value) => value
            .as_float()
            .or_else(|_| value.as_int().map(|factor| factor as f64))
            .ok()
            .filter(|factor| BACKOFF.contains(factor))
            .ok_or_else(|| {
                let (least, most) = (BACKOFF.start(), BACKOFF.end());
                thrown(format!("`retry`: `backoff` must be a number from {least} to {most}"), position)
            })?,
    };
    let mut attempt = 1;
    loop {
        match function.call_within_context::<Dynamic>(context, ()) {
            Err(error) if attempt < attempts && error.is_catchable() => {
                let text = format!("attempt {attempt} of {attempts} failed: {}", super::diagnostic::summary(&error));
                let seq = Some(host.next_seq());
                host.record(position, Entry::Logged { seq, level: Level::Warn, text }, Durability::Process)?;
                host.perform(context, Sleep { duration: delay }.into()).map(drop)?;
                let longer = Duration::try_from_secs_f64(delay.0.as_secs_f64() * backoff).unwrap_or(LONGEST_DELAY);
                delay = DurationText(longer.min(LONGEST_DELAY.max(delay.0)));
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn register_step(engine: &mut Engine, host: &Arc<Host>) {
    let host = host.clone();
    let step = move |context: &mut EvalContext, inputs: &[Expression]| -> Rhai<Dynamic> {
        let position = inputs[0].position();
        let title = shown(&context.eval_expression_tree(&inputs[0])?);
        let seq = host.next_seq();
        host.record(position, Entry::StepOpened { seq: seq.clone(), title }, Durability::Process)?;
        let result = context.eval_expression_tree(&inputs[1]);
        let ok = match &result {
            Ok(_) => true,
            Err(error) => matches!(**error, EvalAltResult::Return(..) | EvalAltResult::LoopBreak(..)),
        };
        host.record(position, Entry::StepClosed { seq, ok }, Durability::Process)?;
        result
    };
    if let Err(error) = engine.register_custom_syntax(["step", "$expr$", "$block$"], false, step) {
        // The words are fixed, so this cannot happen at a user's; a test runs a step.
        tracing::error!(%error, "the word `step` could not be registered");
    }
}
