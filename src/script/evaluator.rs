//! Evaluates the inputs of a session one after the other. Each input is a small script that sees the variables, functions
//! and imports of earlier ones. Knows no terminal.

use std::sync::{Arc, Mutex};

use rhai::{AST, Dynamic, Engine, EvalAltResult, NativeCallContext, OptimizationLevel, Position, Scope};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::compiled::{closures, imports};
use super::deferred_removal::{self, DeferredRemovals};
use super::diagnostic::{ScriptDiagnostic, parse_diagnostic};
use super::engine::engine;
use super::host::Host;
use super::program::{Failure, failure_of};
use super::source::{Source, SourceLoader};
use super::value::{to_json, type_phrase};
use crate::base::seq::Seq;
use crate::effect::Effect;
use crate::gateway::Gateway;

/// An engine with the variables, functions and imports of a session.
pub struct Evaluator {
    engine: Engine,
    host: Arc<Host>,
    loader: Arc<dyn SourceLoader>,
    scope: Scope<'static>,
    functions: AST,
    /// Import statements of all inputs. Rhai keeps an import only for its own input, so they are repeated.
    imports: Vec<String>,
    inputs: usize,
    deferred_removals: DeferredRemovals,
}

/// What is known of the inputs of a killed process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredInputs {
    /// Number of inputs.
    pub inputs: usize,
    /// Names of containers whose removal is due at the end of the session.
    pub deferred_removals: Vec<String>,
}

impl Evaluator {
    /// Creates an evaluator without variables.
    pub fn new(gateway: Arc<Gateway>, handle: Handle, loader: Arc<dyn SourceLoader>) -> Self {
        let host = Arc::new(Host::running(gateway, handle, json!({})));
        let deferred_removals: DeferredRemovals = Arc::new(Mutex::default());
        let mut engine = engine(&host, &loader);
        engine.set_optimization_level(OptimizationLevel::None);
        deferred_removal::register(&mut engine, &host, &deferred_removals);
        let (scope, functions) = (Scope::new(), AST::empty());
        Self { engine, host, loader, scope, functions, imports: Vec::new(), inputs: 0, deferred_removals }
    }

    /// Continues after the inputs of a killed process. Their variables are lost; their deferred removals are still due.
    pub fn resume(&mut self, recovered: &RecoveredInputs) {
        self.inputs = recovered.inputs;
        deferred_removal::add_recovered(&self.deferred_removals, &recovered.deferred_removals);
    }

    /// Whether the closure that `on_rollback` registered at `seq` exists in this process.
    pub fn has_rollback(&self, seq: &Seq) -> bool {
        self.host.rollback(seq).is_some()
    }

    /// Copies all variables, functions and imports into an evaluator with another gateway.
    #[must_use]
    pub fn copy_for(&self, gateway: Arc<Gateway>, handle: Handle) -> Self {
        let mut copy = Self::new(gateway, handle, self.loader.clone());
        for (name, constant, value) in self.scope.iter() {
            let value = value.flatten_clone();
            if constant {
                copy.scope.push_constant_dynamic(name, value);
            } else {
                copy.scope.push_dynamic(name, value);
            }
        }
        copy.functions = self.functions.clone();
        copy.imports.clone_from(&self.imports);
        copy.inputs = self.inputs;
        copy
    }

    /// Loads the functions and imports of a script without running its statements. Returns the number of functions.
    ///
    /// # Errors
    /// Fails if the script does not parse.
    pub fn load(&mut self, source: &Source) -> Result<usize, Box<ScriptDiagnostic>> {
        self.host.sources.add(source);
        let mut ast =
            self.engine.compile(&source.text).map_err(|error| parse_diagnostic(&error, &source.name, &source.text))?;
        ast.set_source(&source.name);
        self.host.sources.add_closures(&closures(&ast), &source.name);
        self.store_definitions(&ast);
        Ok(ast.iter_functions().filter(|function| !function.name.starts_with("anon$")).count())
    }

    /// Evaluates one input on the current thread, which must not be a worker of the async runtime.
    ///
    /// # Errors
    /// Fails if the input does not parse or ends with an error. Variables it has declared stay.
    pub fn eval(&mut self, input: &str) -> Result<Value, Failure> {
        self.inputs += 1;
        let name = format!("<{}>", self.inputs);
        let mut text = self.imports.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(input);
        self.host.sources.add(&Source::new(name.clone(), text.clone()));
        let mut ast = self
            .engine
            .compile_with_scope(&self.scope, &text)
            .map_err(|error| Failure { diagnostic: Box::new(parse_diagnostic(&error, &name, &text)), error: None })?;
        ast.set_source(&name);
        self.host.sources.add_closures(&closures(&ast), &name);
        let mut program = self.functions.merge(&ast);
        program.set_source(&name);
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &program);
        let value = match result {
            Ok(_) if self.host.is_halted() => {
                let ended = EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE);
                return Err(failure_of(&self.host, &ended, &name));
            }
            Ok(value) => value,
            Err(error) => return Err(failure_of(&self.host, &error, &name)),
        };
        self.store_definitions(&ast);
        Ok(to_json(&value).unwrap_or_else(|_| Value::String(format!("({})", type_phrase(&value)))))
    }

    fn store_definitions(&mut self, ast: &AST) {
        self.functions = self.functions.merge(&ast.clone_functions_only());
        for (path, alias, _) in imports(ast) {
            let statement = format!("import \"{path}\" as {alias};");
            if !self.imports.contains(&statement) {
                self.imports.push(statement);
            }
        }
    }

    /// Calls the closure that `on_rollback` registered at `seq`; `None` if this process has not registered it.
    pub fn call_rollback(&self, seq: &Seq) -> Option<Result<(), Failure>> {
        let closure = self.host.rollback(seq)?;
        let context = NativeCallContext::new_with_all_fields(
            &self.engine,
            "on_rollback",
            None,
            &closure.global,
            closure.position,
        );
        let called = closure.function.call_within_context::<Dynamic>(&context, ());
        Some(called.map(drop).map_err(|error| failure_of(&self.host, &error, "on_rollback")))
    }

    /// Returns the names of all variables.
    pub fn variables(&self) -> Vec<String> {
        self.scope.iter_raw().map(|(name, _, _)| name.to_owned()).collect()
    }

    /// Returns the names of the functions that inputs and the loaded script defined.
    pub fn functions(&self) -> Vec<String> {
        let named = self.functions.iter_functions().filter(|function| !function.name.starts_with("anon$"));
        named.map(|function| function.name.to_owned()).collect()
    }

    /// Returns the import statements of all inputs.
    pub fn imported(&self) -> &[String] {
        &self.imports
    }

    /// Returns the removals that are due at the end of the session.
    pub fn due_removals(&self) -> Vec<Effect> {
        deferred_removal::due_removals(&self.deferred_removals)
    }
}
