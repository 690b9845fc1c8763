//! Evaluates one input after the other in the same variables: what a session is made of. Each input is a small script
//! that sees the variables, functions and imports of those before it. Knows no terminal.

use std::sync::{Arc, Mutex};

use rhai::{AST, Dynamic, Engine, EvalAltResult, NativeCallContext, OptimizationLevel, Position, Scope};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::compiled::{closures, imports};
use super::diagnostic::{ScriptDiagnostic, parse_diagnostic};
use super::engine::engine;
use super::host::Host;
use super::program::{Failure, failure_of, remember_closures};
use super::set_aside::{self, Aside};
use super::source::{Source, SourceLoader};
use super::value::{to_json, type_phrase};
use crate::base::seq::Seq;
use crate::effect::Effect;
use crate::gateway::Gateway;

/// Variables, functions and imports, and the engine that they live in.
pub struct Evaluator {
    engine: Engine,
    host: Arc<Host>,
    loader: Arc<dyn SourceLoader>,
    scope: Scope<'static>,
    functions: AST,
    /// Import statements of all inputs: an import is seen by its own input alone.
    imports: Vec<String>,
    inputs: usize,
    aside: Aside,
}

/// What inputs did before the process that took them was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// How many there were.
    pub inputs: usize,
    /// Names of containers that were set aside, and are to be removed at the end.
    pub aside: Vec<String>,
}

impl Evaluator {
    pub fn new(gateway: Arc<Gateway>, handle: Handle, loader: Arc<dyn SourceLoader>) -> Self {
        let host = Arc::new(Host::running(gateway, handle, json!({})));
        let aside: Aside = Arc::new(Mutex::default());
        let mut engine = engine(&host, &loader);
        engine.set_optimization_level(OptimizationLevel::None);
        set_aside::register(&mut engine, &host, &aside);
        let (scope, functions) = (Scope::new(), AST::empty());
        Self { engine, host, loader, scope, functions, imports: Vec::new(), inputs: 0, aside }
    }

    /// Goes on behind inputs of another process: their variables are gone, what they set aside is still due.
    pub fn go_on(&mut self, earlier: &Earlier) {
        self.inputs = earlier.inputs;
        set_aside::take_over(&self.aside, &earlier.aside);
    }

    /// Whether the closure that was registered with `on_rollback` at `seq` is at hand.
    pub fn has_rollback(&self, seq: &Seq) -> bool {
        self.host.rollback(seq).is_some()
    }

    /// A copy of all variables, functions and imports that asks another gateway.
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

    /// Takes the functions and imports of a script in, without running any statement of it. Returns how many functions
    /// there are.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn load(&mut self, source: &Source) -> Result<usize, Box<ScriptDiagnostic>> {
        self.host.sources.add(source);
        let mut ast =
            self.engine.compile(&source.text).map_err(|error| parse_diagnostic(&error, &source.name, &source.text))?;
        ast.set_source(&source.name);
        remember_closures(&self.host, &closures(&ast), &source.name);
        self.keep(&ast);
        Ok(ast.iter_functions().filter(|function| !function.name.starts_with("anon$")).count())
    }

    /// Evaluates one input on the thread of the caller, which must be none of the async runtime's own.
    ///
    /// # Errors
    /// When it does not parse, or what ended it. Variables that it made before that stay.
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
        remember_closures(&self.host, &closures(&ast), &name);
        let mut whole = self.functions.merge(&ast);
        whole.set_source(&name);
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole);
        let value = match result {
            Ok(_) if self.host.is_halted() => {
                let ended = EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE);
                return Err(failure_of(&self.host, &ended, &name));
            }
            Ok(value) => value,
            Err(error) => return Err(failure_of(&self.host, &error, &name)),
        };
        self.keep(&ast);
        Ok(to_json(&value).unwrap_or_else(|_| Value::String(format!("({})", type_phrase(&value)))))
    }

    fn keep(&mut self, ast: &AST) {
        self.functions = self.functions.merge(&ast.clone_functions_only());
        for (path, alias, _) in imports(ast) {
            let statement = format!("import \"{path}\" as {alias};");
            if !self.imports.contains(&statement) {
                self.imports.push(statement);
            }
        }
    }

    /// Calls the closure that was registered with `on_rollback` at `seq`.
    ///
    /// # Errors
    /// What it failed with.
    pub fn call_rollback(&self, seq: &Seq) -> Result<(), Failure> {
        let Some(kept) = self.host.rollback(seq) else { return Ok(()) };
        let context =
            NativeCallContext::new_with_all_fields(&self.engine, "on_rollback", None, &kept.global, kept.position);
        let called = kept.function.call_within_context::<Dynamic>(&context, ());
        called.map(drop).map_err(|error| failure_of(&self.host, &error, "on_rollback"))
    }

    /// The names of all variables.
    pub fn variables(&self) -> Vec<String> {
        self.scope.iter_raw().map(|(name, _, _)| name.to_owned()).collect()
    }

    /// The names of the functions that inputs and the loaded script defined.
    pub fn functions(&self) -> Vec<String> {
        let named = self.functions.iter_functions().filter(|function| !function.name.starts_with("anon$"));
        named.map(|function| function.name.to_owned()).collect()
    }

    /// The import statements of all inputs.
    pub fn imported(&self) -> &[String] {
        &self.imports
    }

    /// What the session set aside in place of removing it: the removals that are due at its end.
    pub fn due_removals(&self) -> Vec<Effect> {
        set_aside::due(&self.aside)
    }
}
