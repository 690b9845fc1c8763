//! Implementation of the control functions: parameters, steps, messages, commit, rollback closures, `parallel` and
//! `retry`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, EvalContext, Expression, FnPtr, Map, Module, NativeCallContext, Position,
};

use super::diagnostic::error_value;
use super::functions::{Functions, host};
use super::host::{Expectation, Halt, Host, Rhai, StoredClosure, is_on_script_branch, on_branch};
use super::params::{self, Declaration, Param};
use super::stack::spawn;
use super::value::{to_json, type_name, type_phrase};
use crate::base::duration_text::DurationText;
use crate::base::seq::{Branch, Seq};
use crate::base::suggest::did_you_mean;
use crate::effect::time::Sleep;
use crate::effect::{EffectError, ErrorKind};
use crate::gateway::Gateway;
use crate::journal::Durability;
use crate::journal::entry::{Entry, Level};

/// Maximum number of branches of one `parallel`.
const MAX_BRANCHES: usize = 64;
/// Maximum number of attempts of one `retry`.
const MAX_ATTEMPTS: i64 = 1_000;

/// Allowed growth factors of the delay of a `retry`.
const BACKOFF: RangeInclusive<f64> = 1.0..=10.0;
/// Upper limit of the growing delay of a `retry`.
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// Registers the functions.
pub fn register(module: &mut Module) {
    register_params(module);
    register_messages(module);
    register_rollback(module);
    register_flow(module);
}

/// Registers the syntax of `step` and the handler of `print`.
pub fn prepare(engine: &mut Engine, host: &Arc<Host>) {
    engine.register_type_with_name::<Param>("Parameter");
    let printer = host.clone();
    engine.on_print(move |text| {
        let entry = Entry::Logged { seq: Some(printer.next_seq()), level: Level::Print, text: text.into() };
        // `on_print` cannot fail. If the journal cannot be written, the next primitive ends the run.
        drop(printer.record(Position::NONE, entry, Durability::Process));
    });
    register_step(engine, host);
}

fn invalid(message: impl Into<String>, position: Position) -> Box<EvalAltResult> {
    invalid_with_hint(message, None, position)
}

fn invalid_with_hint(message: impl Into<String>, hint: Option<String>, position: Position) -> Box<EvalAltResult> {
    let mut error = EffectError::new(ErrorKind::Invalid, message).not_applied();
    error.hint = hint;
    EvalAltResult::ErrorRuntime(error_value("script", &error), position).into()
}

fn register_params(module: &mut Module) {
    module.add("required", |context: NativeCallContext, kind: &str, doc: &str| -> Rhai<Param> {
        params::required(kind, doc).map_err(|why| invalid(why, context.call_position()))
    });
    module.add("optional", |context: NativeCallContext, kind: &str, default: Dynamic, doc: &str| -> Rhai<Param> {
        params::optional(kind, &default, doc).map_err(|why| invalid(why, context.call_position()))
    });
    module.add("params", |context: NativeCallContext, map: Map| -> Rhai<Dynamic> {
        let (host, position) = (host(&context)?, context.call_position());
        if host.declaration().is_some() {
            return Err(invalid("`params` can be called only once", position));
        }
        let declaration = Declaration::read(&map).map_err(|error| {
            invalid_with_hint(format!("params: `{}` {}", error.key, error.message), error.hint, position)
        })?;
        host.declare(declaration.clone());
        let Some(given) = host.given() else { return Err(host.halt(Halt::Declared, position)) };
        let filled = declaration
            .fill(given)
            .map_err(|error| invalid(format!("parameter `{}` {}", error.key, error.message), position))?;
        Ok(params::to_script(filled))
    });
}

fn register_messages(module: &mut Module) {
    for (name, level) in [("log", Level::Info), ("warn", Level::Warn)] {
        let log = move |context: &NativeCallContext, text: &Dynamic| -> Rhai<()> {
            let host = host(context)?;
            let (seq, text) = (Some(host.next_seq()), display_text(text));
            host.record(context.call_position(), Entry::Logged { seq, level, text }, Durability::Process)
        };
        module.add(name, move |context: NativeCallContext, text: Dynamic| log(&context, &text));
        // Without this overload, `log(1.5)` is Rhai's logarithm.
        module.add(name, move |context: NativeCallContext, text: f64| log(&context, &text.into()));
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

/// Returns a value as text, as `log` and interpolation show it.
fn display_text(value: &Dynamic) -> String {
    match to_json(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) if type_name(value) == "secret" => {
            value.read_lock::<super::secret_text::SecretText>().map(|secret| secret.0.to_string()).unwrap_or_default()
        }
        Ok(json) => json.to_string(),
        Err(_) => value.to_string(),
    }
}

fn register_rollback(module: &mut Module) {
    module.add("commit", |context: NativeCallContext| -> Rhai<()> {
        let committing = host(&context)?;
        let seq = committing.next_seq();
        // A replayed script may have reached this line before its run was rolled back.
        let is_late = |gateway: &Arc<Gateway>| gateway.ledger().rolling_back() && !seq.is_from_script();
        if committing.gateway().is_some_and(is_late) {
            return Err(invalid("`commit` is too late: the run is being rolled back", context.call_position()));
        }
        committing.record(context.call_position(), Entry::Committed { seq }, Durability::Power)
    });
    let on_rollback = |context: &NativeCallContext, function: FnPtr, otherwise: Option<String>| -> Rhai<()> {
        let host = host(context)?;
        refuse_in_closure("on_rollback", context.call_position())?;
        let seq = host.next_seq();
        let site = host.site(context);
        host.add_rollback(seq.clone(), stored_closure(context, function));
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
        let (site, closure) = (expecting.site(&context), stored_closure(&context, function));
        expecting.add_expectation(Expectation { sentence: sentence.into(), site, closure });
        Ok(())
    });
    module.add("gap", |context: NativeCallContext, duration: &str| -> Rhai<()> {
        let duration: DurationText = duration.parse().map_err(|why: String| invalid(why, context.call_position()))?;
        let ms = u64::try_from(duration.0.as_millis()).unwrap_or(u64::MAX);
        if let Some(gateway) = host(&context)?.gateway() {
            gateway.simulation().allow_gap(ms);
        }
        Ok(())
    });
    module.add("on_finish", |context: NativeCallContext, function: FnPtr| -> Rhai<()> {
        refuse_in_closure("on_finish", context.call_position())?;
        host(&context)?.add_finisher(stored_closure(&context, function));
        Ok(())
    });
}

/// Refuses to register a closure in a closure that is called at the end of the run: it would never be called.
fn refuse_in_closure(function: &str, position: Position) -> Rhai<()> {
    if is_on_script_branch() {
        return Ok(());
    }
    let message =
        format!("`{function}` is too late: a closure that is called at the end of the run cannot register one");
    Err(invalid_with_hint(message, Some(format!("call `{function}` in the script, before the change")), position))
}

/// Returns a closure with the imports and constants it can see.
fn stored_closure(context: &NativeCallContext, function: FnPtr) -> StoredClosure {
    StoredClosure { function, global: context.global_runtime_state().clone(), position: context.call_position() }
}

fn register_flow(module: &mut Module) {
    module.add("millis", |context: NativeCallContext, duration: &str| -> Rhai<i64> {
        let duration: DurationText = duration.parse().map_err(|why: String| invalid(why, context.call_position()))?;
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
    if branches.len() > MAX_BRANCHES {
        return Err(invalid(
            format!("`parallel` takes at most {MAX_BRANCHES} closures, not {}", branches.len()),
            position,
        ));
    }
    let functions: Vec<FnPtr> = branches
        .into_iter()
        .map(|branch| {
            let what = type_phrase(&branch);
            branch
                .try_cast::<FnPtr>()
                .ok_or_else(|| invalid(format!("`parallel` takes closures, not {what}"), position))
        })
        .collect::<Rhai<_>>()?;
    let seq = host.next_seq();
    let count = u32::try_from(functions.len()).unwrap_or(u32::MAX);
    host.record(position, Entry::ParallelOpened { seq: seq.clone(), branches: count }, Durability::Process)?;
    let simulation = host.gateway().map(|gateway| gateway.simulation()).filter(|simulation| simulation.is_enabled());
    let results: Vec<Rhai<Dynamic>> = if let Some(simulation) = simulation {
        run_sequentially(context, &seq, functions, simulation.runs_last_branch_first())
    } else {
        std::thread::scope(|scope| {
            let running: Vec<_> = (1..)
                .zip(functions)
                .map(|(number, mut function)| {
                    // Each branch gets its own copy of captured values. Shared ones would race and lose updates.
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
                    Ok(Err(_)) => Err(branch_error("a branch of `parallel` crashed".into(), position)),
                    Err(error) => {
                        Err(branch_error(format!("a branch of `parallel` could not start: {error}"), position))
                    }
                })
                .collect()
        })
    };
    host.record(position, Entry::ParallelClosed { seq }, Durability::Process)?;
    // An uncatchable error comes first. Otherwise the first failed branch in script order counts, regardless of timing.
    if let Some(ended) = results.iter().position(|result| result.as_ref().is_err_and(|error| !error.is_catchable())) {
        host.end_with_branches();
        return results.into_iter().skip(ended).collect();
    }
    results.into_iter().collect()
}

/// Runs the branches one after the other, which makes a simulated run deterministic. The results are in script order.
fn run_sequentially(
    context: &NativeCallContext,
    seq: &Seq,
    functions: Vec<FnPtr>,
    last_first: bool,
) -> Vec<Rhai<Dynamic>> {
    let run = |(number, mut function): (u32, FnPtr)| {
        for captured in function.iter_curry_mut() {
            *captured = captured.flatten_clone();
        }
        on_branch(Branch::child(seq, number), || function.call_within_context::<Dynamic>(context, ()))
    };
    let mut branches: Vec<(u32, FnPtr)> = (1..).zip(functions).collect();
    if !last_first {
        return branches.into_iter().map(run).collect();
    }
    branches.reverse();
    let mut results: Vec<Rhai<Dynamic>> = branches.into_iter().map(run).collect();
    results.reverse();
    results
}

fn branch_error(message: String, position: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(error_value("parallel", &EffectError::new(ErrorKind::Internal, message)), position)
        .into()
}

fn retry(host: &Arc<Host>, context: &NativeCallContext, options: &Map, function: &FnPtr) -> Rhai<Dynamic> {
    let position = context.call_position();
    const KEYS: [&str; 3] = ["attempts", "delay", "backoff"];
    if let Some(unknown) = options.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = did_you_mean(unknown, KEYS).unwrap_or_else(|| format!("its options are {}", KEYS.join(", ")));
        return Err(invalid(format!("`retry` has no option `{unknown}`; {hint}"), position));
    }
    let given = |key: &str| options.get(key).filter(|value| !value.is_unit());
    let attempts = match given("attempts") {
        None => 3,
        Some(value) => {
            value.as_int().ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts)).ok_or_else(|| {
                invalid(format!("`retry`: `attempts` must be a number from 1 to {MAX_ATTEMPTS}"), position)
            })?
        }
    };
    let mut delay: DurationText = match given("delay") {
        None => DurationText::secs(1),
        Some(value) => value.to_string().parse().map_err(|why| invalid(format!("`retry`: {why}"), position))?,
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
                invalid(format!("`retry`: `backoff` must be a number from {least} to {most}"), position)
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
                let longer = Duration::try_from_secs_f64(delay.0.as_secs_f64() * backoff).unwrap_or(MAX_DELAY);
                delay = DurationText(longer.min(MAX_DELAY.max(delay.0)));
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
        let title = display_text(&context.eval_expression_tree(&inputs[0])?);
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
        // The syntax is constant, and a test runs a step.
        tracing::error!(%error, "the syntax of `step` could not be registered");
    }
}
