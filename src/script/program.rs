//! A script, compiled and ready to run against its host.

use std::sync::Arc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, NativeCallContext, OptimizationLevel, Position, Scope};
use serde_json::Value;

use super::compiled::{Compiled, compiled};
use super::diagnostic::{ScriptDiagnostic, effect_diagnostic, parse_diagnostic, runtime_diagnostic};
use super::engine::engine;
use super::host::{Halt, Host, Kept};
use super::params::Declaration;
use super::source::{Source, SourceLoader};
use super::stack::deep;
use super::value::{from_json, to_json};
use crate::base::seq::Seq;
use crate::effect::EffectError;

/// A compiled script with its engine.
pub struct Program {
    engine: Engine,
    compiled: Arc<Compiled>,
    source: Source,
    host: Arc<Host>,
}

/// How a script ended that did not reach its end.
#[derive(Debug)]
pub struct Failure {
    pub diagnostic: Box<ScriptDiagnostic>,
    /// The error of the effect or of `fail`; none when the script itself is wrong.
    pub error: Option<EffectError>,
}

impl Program {
    /// # Errors
    /// When it does not parse, or uses a name that is not there.
    pub fn compile(source: Source, loader: &Arc<dyn SourceLoader>, host: Host) -> Result<Self, Box<ScriptDiagnostic>> {
        let host = Arc::new(host);
        host.sources.add(&source);
        let mut engine = engine(&host, loader);
        // Simple optimization drops statements and folds literals, and with them the places that errors point to.
        engine.set_optimization_level(OptimizationLevel::None);
        let compiled =
            compiled(&engine, &source).map_err(|error| parse_diagnostic(&error, &source.name, &source.text))?;
        remember_closures(&host, &compiled.closures, &source.name);
        Ok(Self { engine, compiled, source, host })
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn ast(&self) -> &AST {
        &self.compiled.ast
    }

    /// Imports with a literal path: path, alias, place.
    pub fn imports(&self) -> &[(String, String, Position)] {
        &self.compiled.imports
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the script declares; an empty declaration when it never calls `params`.
    ///
    /// # Errors
    /// When it fails before that.
    pub fn declaration(source: Source, loader: &Arc<dyn SourceLoader>) -> Result<Declaration, Box<ScriptDiagnostic>> {
        let program = Self::compile(source, loader, Host::declaring())?;
        let calls_params = program.calls("params");
        if !calls_params {
            return Ok(Declaration::default());
        }
        match deep(|| program.run()) {
            Err(failure) if program.host.declaration().is_none() => Err(failure.diagnostic),
            _ => Ok(program.host.declaration().unwrap_or_default()),
        }
    }

    /// Whether the script itself has a call of this function.
    pub fn calls(&self, function: &str) -> bool {
        let mut found = false;
        self.ast().walk(&mut |path| {
            found |=
                path.last().is_some_and(|node| super::check::called(node).is_some_and(|call| call.name == function));
            !found
        });
        found
    }

    /// Runs it to its end, on the thread of the caller, which must not be a worker of the async runtime.
    ///
    /// # Errors
    /// What ended it.
    pub fn run(&self) -> Result<Value, Failure> {
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), self.ast());
        match result {
            Ok(_) if self.host.is_halted() => {
                Err(self.failure(&EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE)))
            }
            // A value that has no JSON form (a closure, a parameter) is nobody's result.
            Ok(value) => Ok(to_json(&value).unwrap_or(Value::Null)),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Calls the closure that was registered at `seq`.
    ///
    /// # Errors
    /// What it failed with.
    pub fn call_rollback(&self, seq: &Seq) -> Result<(), Failure> {
        match self.host.rollback(seq) {
            Some(kept) => self.call(&kept, "on_rollback", ()),
            None => Ok(()),
        }
    }

    /// Asks every closure of `expect` whether its sentence holds now.
    pub fn check_expectations(&self) {
        self.host.check_expectations(&self.engine);
    }

    /// Calls what `on_finish` left, in order; returns what failed.
    pub fn call_finishers(&self, end: &Value) -> Vec<Failure> {
        self.host
            .finishers()
            .iter()
            .filter_map(|kept| self.call(kept, "on_finish", (from_json(end.clone()),)).err())
            .collect()
    }

    fn call(&self, kept: &Kept, name: &str, args: impl rhai::FuncArgs) -> Result<(), Failure> {
        let context = NativeCallContext::new_with_all_fields(
            &self.engine,
            name,
            Some(&self.source.name),
            &kept.global,
            kept.position,
        );
        kept.function.call_within_context::<Dynamic>(&context, args).map(drop).map_err(|error| self.failure(&error))
    }

    /// An error of the run that no line of the script made.
    pub fn fault(&self, error: EffectError) -> Failure {
        let diagnostic = Box::new(effect_diagnostic(&error));
        Failure { diagnostic, error: Some(error) }
    }

    fn failure(&self, error: &EvalAltResult) -> Failure {
        failure_of(&self.host, error, &self.source.name)
    }
}

/// How the source `name` ended, with what the host knows of it.
pub(super) fn failure_of(host: &Host, error: &EvalAltResult, name: &str) -> Failure {
    let fatal = match host.take_halt() {
        Some(Halt::Fatal(fatal)) if ended_from_outside(error) => Some(fatal),
        _ => None,
    };
    let diagnostic = runtime_diagnostic(error, fatal.as_ref(), name, &host.sources);
    let error = diagnostic.error.clone();
    Failure { diagnostic: Box::new(diagnostic), error }
}

/// Whether the host ended the script, past every `catch`.
fn ended_from_outside(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            ended_from_outside(inner)
        }
        root => matches!(root, EvalAltResult::ErrorTerminated(..)),
    }
}

pub(super) fn remember_closures(host: &Host, closures: &[String], source: &str) {
    closures.iter().for_each(|closure| host.sources.add_closure(closure, source));
}
