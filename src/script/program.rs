//! A compiled script, ready to run against its host.

use std::sync::Arc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, NativeCallContext, OptimizationLevel, Position, Scope};
use serde_json::Value;

use super::compiled::{Compiled, compile};
use super::diagnostic::{ScriptDiagnostic, effect_diagnostic, parse_diagnostic, runtime_diagnostic};
use super::engine::engine;
use super::function_call::FunctionCall;
use super::host::{Halt, Host, StoredClosure};
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

/// The error that ended a script.
#[derive(Debug)]
pub struct Failure {
    /// The error with its locations.
    pub diagnostic: Box<ScriptDiagnostic>,
    /// The error of the effect or of `fail`; `None` if the script itself is wrong.
    pub error: Option<EffectError>,
}

impl Program {
    /// Compiles a script.
    ///
    /// # Errors
    /// Fails if the script does not parse or uses an unknown name.
    pub fn compile(source: Source, loader: &Arc<dyn SourceLoader>, host: Host) -> Result<Self, Box<ScriptDiagnostic>> {
        let host = Arc::new(host);
        host.sources.add(&source);
        let mut engine = engine(&host, loader);
        // Optimization drops statements and folds literals, and with them the positions that errors point to.
        engine.set_optimization_level(OptimizationLevel::None);
        let compiled =
            compile(&engine, &source).map_err(|error| parse_diagnostic(&error, &source.name, &source.text))?;
        host.sources.add_closures(&compiled.closures, &source.name);
        Ok(Self { engine, compiled, source, host })
    }

    /// Returns the host.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Returns the text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the syntax tree.
    pub fn ast(&self) -> &AST {
        &self.compiled.ast
    }

    /// Returns the imports with a literal path: path, alias, position.
    pub fn imports(&self) -> &[(String, String, Position)] {
        &self.compiled.imports
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the parameters that a script declares; none if it never calls `params`.
    ///
    /// # Errors
    /// Fails if the script does not compile, or fails before `params`.
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

    /// Whether the script itself calls this function. Modules are not searched.
    pub fn calls(&self, function: &str) -> bool {
        let mut found = false;
        self.ast().walk(&mut |path| {
            let call = path.last().and_then(FunctionCall::from_node);
            found |= call.is_some_and(|call| call.name == function);
            !found
        });
        found
    }

    /// Runs the script to its end on the current thread, which must not be a worker of the async runtime.
    ///
    /// # Errors
    /// Returns the error that ended the script.
    pub fn run(&self) -> Result<Value, Failure> {
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), self.ast());
        match result {
            Ok(_) if self.host.is_halted() => {
                Err(self.failure(&EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE)))
            }
            // A value without a JSON form, such as a closure, is not a result.
            Ok(value) => Ok(to_json(&value).unwrap_or(Value::Null)),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Calls the closure that `on_rollback` registered at `seq`; `None` if this process has not registered it.
    pub fn call_rollback(&self, seq: &Seq) -> Option<Result<(), Failure>> {
        let closure = self.host.rollback(seq)?;
        if let Some(gateway) = self.host.gateway() {
            gateway.simulation().record_called(seq);
        }
        Some(self.call(&closure, "on_rollback", ()))
    }

    /// Checks every property stated by `expect`.
    pub fn check_expectations(&self) {
        self.host.check_expectations(&self.engine);
    }

    /// Calls the closures of `on_finish` in order and returns their errors.
    pub fn call_finishers(&self, end: &Value) -> Vec<Failure> {
        self.host
            .finishers()
            .iter()
            .filter_map(|closure| self.call(closure, "on_finish", (from_json(end.clone()),)).err())
            .collect()
    }

    fn call(&self, closure: &StoredClosure, name: &str, args: impl rhai::FuncArgs) -> Result<(), Failure> {
        let context = NativeCallContext::new_with_all_fields(
            &self.engine,
            name,
            Some(&self.source.name),
            &closure.global,
            closure.position,
        );
        closure.function.call_within_context::<Dynamic>(&context, args).map(drop).map_err(|error| self.failure(&error))
    }

    /// Creates a failure of the run that has no line in the script.
    pub fn fault(&self, error: EffectError) -> Failure {
        let diagnostic = Box::new(effect_diagnostic(&error));
        Failure { diagnostic, error: Some(error) }
    }

    fn failure(&self, error: &EvalAltResult) -> Failure {
        failure_of(&self.host, error, &self.source.name)
    }
}

/// Creates the failure of the source `name`, with the reason of the host if it ended the script.
pub(super) fn failure_of(host: &Host, error: &EvalAltResult, name: &str) -> Failure {
    let fatal = match host.take_halt() {
        Some(Halt::Fatal(fatal)) if ended_from_outside(error) => Some(fatal),
        _ => None,
    };
    let diagnostic = runtime_diagnostic(error, fatal.as_ref(), name, &host.sources);
    let error = diagnostic.error.clone();
    Failure { diagnostic: Box::new(diagnostic), error }
}

/// Whether the host ended the script.
fn ended_from_outside(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            ended_from_outside(inner)
        }
        root => matches!(root, EvalAltResult::ErrorTerminated(..)),
    }
}
