//! The words of a script that are no effects: parameters, steps, messages, the point of no return, branches, tries.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, EvalContext, Expression, FnPtr, Map, Module, NativeCallContext, Position,
};

use super::diagnostic::error_value;
use super::functions::{Functions, host};
use super::host::{Expectation, Halt, Host, Kept, Rhai, on_branch};
use super::params::{self, Declaration, Param};
use super::stack::spawn;
use super::value::{to_json, type_name, type_phrase};
pub use super::word::{WORDS, Word};
use crate::base::duration_text::DurationText;
use crate::base::seq::{Branch, Seq};
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

/// Adds those that are functions.
pub fn register(module: &mut Module) {
    register_params(module);
    register_messages(module);
    register_rollback(module);
    register_flow(module);
}

/// Adds what is syntax, and what an engine does by itself.
pub fn prepare(engine: &mut Engine, host: &Arc<Host>) {
    engine.register_type_with_name::<Param>("Parameter");
    let printer = host.clone();
    engine.on_print(move |text| {
        let entry = Entry::Logged { seq: Some(printer.next_seq()), level: Level::Print, text: text.into() };
        // `on_print` cannot fail; a journal that is gone stops the run at its next primitive.
        drop(printer.record(Position::NONE, entry, Durability::Process));
    });
    register_step(engine, host);
}

fn thrown(message: impl Into<String>, position: Position) -> Box<EvalAltResult> {
    let error = EffectError::new(ErrorKind::Invalid, message).not_applied();
    EvalAltResult::ErrorRuntime(error_value("script", &error), position).into()
}

fn register_params(module: &mut Module) {
    module.add("required", |context: NativeCallContext, kind: &str, doc: &str| -> Rhai<Param> {
        params::required(kind, doc).map_err(|why| thrown(why, context.call_position()))
    });
    module.add("optional", |context: NativeCallContext, kind: &str, default: Dynamic, doc: &str| -> Rhai<Param> {
        params::optional(kind, &default, doc).map_err(|why| thrown(why, context.call_position()))
    });
    module.add("params", |context: NativeCallContext, map: Map| -> Rhai<Dynamic> {
        let (host, position) = (host(&context)?, context.call_position());
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

fn register_messages(module: &mut Module) {
    for (name, level) in [("log", Level::Info), ("warn", Level::Warn)] {
        let say = move |context: &NativeCallContext, text: &Dynamic| -> Rhai<()> {
            let host = host(context)?;
            let (seq, text) = (Some(host.next_seq()), shown(text));
            host.record(context.call_position(), Entry::Logged { seq, level, text }, Durability::Process)
        };
        module.add(name, move |context: NativeCallContext, text: Dynamic| say(&context, &text));
        // Else `log(1.5)` is the logarithm of the language's own packages.
        module.add(name, move |context: NativeCallContext, text: f64| say(&context, &text.into()));
    }
    let fail = |context: &NativeCallContext, message: &str, hint: Option<&str>| -> Rhai<()> {
        let error = EffectError::new(ErrorKind::ScriptFailed, message);
        let error = if let Some(hint) = hint { error.hint(hint) } else { error };
        Err(host(context)?.raise(context.call_position(), "fail", error))
    };
    module.add("fail", move |context: NativeCallContext, message: &str| fail(&context, message, None));
    module
        .add("fail", move |context: NativeCallContext, message: &str, hint: &str| fail(&context, message, Some(hint)));
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

fn register_rollback(module: &mut Module) {
    module.add("commit", |context: NativeCallContext| -> Rhai<()> {
        let committing = host(&context)?;
        let seq = committing.next_seq();
        // The script of a run that is replayed may have come here before the run was taken back.
        let late = |gateway: &Arc<Gateway>| gateway.ledger().unwinding() && !seq.is_of_script();
        if committing.gateway().is_some_and(late) {
            return Err(thrown("`commit` comes too late: the run is being taken back", context.call_position()));
        }
        committing.record(context.call_position(), Entry::Committed { seq }, Durability::Power)
    });
    let on_rollback = |context: &NativeCallContext, function: FnPtr, otherwise: Option<String>| -> Rhai<()> {
        let host = host(context)?;
        let seq = host.next_seq();
        let site = host.site(context);
        host.keep_rollback(seq.clone(), kept(context, function));
        host.record(context.call_position(), Entry::RollbackRegistered { seq, site, otherwise }, Durability::Power)
    };
    module.add("on_rollback", move |context: NativeCallContext, function: FnPtr| -> Rhai<()> {
        on_rollback(&context, function, None)
    });
    module.add("on_rollback", move |context: NativeCallContext, function: FnPtr, otherwise: &str| -> Rhai<()> {
        on_rollback(&context, function, Some(otherwise.to_owned()))
    });
    module.add("expect", |context: NativeCallContext, sentence: &str, function: FnPtr| -> Rhai<()> {
        let expecting = host(&context)?;
        let (site, kept) = (expecting.site(&context), kept(&context, function));
        expecting.keep_expectation(Expectation { sentence: sentence.into(), site, kept });
        Ok(())
    });
    module.add("gap", |context: NativeCallContext, duration: &str| -> Rhai<()> {
        let duration: DurationText = duration.parse().map_err(|why: String| thrown(why, context.call_position()))?;
        let ms = u64::try_from(duration.0.as_millis()).unwrap_or(u64::MAX);
        if let Some(gateway) = host(&context)?.gateway() {
            gateway.simulation().state_gap(ms);
        }
        Ok(())
    });
    module.add("on_finish", |context: NativeCallContext, function: FnPtr| -> Rhai<()> {
        host(&context)?.keep_finisher(kept(&context, function));
        Ok(())
    });
}

/// A closure with the imports and constants that it can see.
fn kept(context: &NativeCallContext, function: FnPtr) -> Kept {
    Kept { function, global: context.global_runtime_state().clone(), position: context.call_position() }
}

fn register_flow(module: &mut Module) {
    module.add("millis", |context: NativeCallContext, duration: &str| -> Rhai<i64> {
        let duration: DurationText = duration.parse().map_err(|why: String| thrown(why, context.call_position()))?;
        Ok(i64::try_from(duration.0.as_millis()).unwrap_or(i64::MAX))
    });
    module.add("parallel", |context: NativeCallContext, branches: Array| -> Rhai<Array> {
        parallel(&host(&context)?, &context, branches)
    });
    module.add("retry", |context: NativeCallContext, options: Map, function: FnPtr| -> Rhai<Dynamic> {
        retry(&host(&context)?, &context, &options, &function)
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
    let in_turn = host.gateway().is_some_and(|gateway| gateway.simulation().is_on());
    let results: Vec<Rhai<Dynamic>> = if in_turn {
        branches_in_turn(context, &seq, functions)
    } else {
        std::thread::scope(|scope| {
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
        })
    };
    host.record(position, Entry::ParallelClosed { seq }, Durability::Process)?;
    // What nobody may catch comes first; else the first branch that failed, in the order of the script, whatever the
    // timing was.
    if let Some(ended) = results.iter().position(|result| result.as_ref().is_err_and(|error| !error.is_catchable())) {
        return results.into_iter().skip(ended).collect();
    }
    results.into_iter().collect()
}

/// The branches one after the other: the same run each time, as a simulation needs it.
fn branches_in_turn(context: &NativeCallContext, seq: &Seq, functions: Vec<FnPtr>) -> Vec<Rhai<Dynamic>> {
    let turn = |(number, mut function): (u32, FnPtr)| {
        for captured in function.iter_curry_mut() {
            *captured = captured.flatten_clone();
        }
        on_branch(Branch::child(seq, number), || function.call_within_context::<Dynamic>(context, ()))
    };
    (1..).zip(functions).map(turn).collect()
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
