//! A script, compiled and ready to run against its host.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::ThreadId;

use rhai::{
    AST, Dynamic, Engine, EvalAltResult, Module, ModuleResolver, NativeCallContext, OptimizationLevel, ParseError,
    Position, Scope, Shared,
};
use serde_json::Value;

use super::diagnostic::{ScriptDiagnostic, effect_diagnostic, parse_diagnostic, runtime_diagnostic};
use super::engine::engine;
use super::host::{Halt, Host, Kept, Rhai};
use super::params::Declaration;
use super::source::{STDLIB, Source, SourceLoader};
use super::stack::deep;
use super::value::{from_json, to_json};
use crate::base::seq::Seq;
use crate::base::suggest::did_you_mean;
use crate::effect::EffectError;
use crate::journal::entry::Entry;

/// A compiled script with its engine.
pub struct Program {
    engine: Engine,
    ast: AST,
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
        let ast = compiled(&engine, &source).map_err(|error| parse_diagnostic(&error, &source.name, &source.text))?;
        remember_closures(&host, &ast, &source.name);
        Ok(Self { engine, ast, source, host })
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn ast(&self) -> &AST {
        &self.ast
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
        self.ast.walk(&mut |path| {
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
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &self.ast);
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

/// Texts that are kept compiled; a search runs the same ones thousands of times.
const KEPT_COMPILED: usize = 64;

static COMPILED: LazyLock<Mutex<BTreeMap<(String, String), AST>>> = LazyLock::new(Mutex::default);

/// The text, compiled. Every engine has the same functions and settings, so that what one compiled another can run.
fn compiled(engine: &Engine, source: &Source) -> Result<AST, ParseError> {
    let key = (source.name.clone(), source.digest());
    let kept = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ast) = kept().get(&key) {
        return Ok(ast.clone());
    }
    let mut ast = engine.compile(&source.text)?;
    ast.set_source(&source.name);
    let mut kept = kept();
    if kept.len() >= KEPT_COMPILED {
        kept.clear();
    }
    kept.insert(key, ast.clone());
    Ok(ast)
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

pub(super) fn remember_closures(host: &Host, ast: &AST, source: &str) {
    for function in ast.iter_functions() {
        if function.name.starts_with("anon$") {
            host.sources.add_closure(function.name, source);
        }
    }
}

/// Finds modules: the stdlib first, then the script's own folder. Refuses circles and ways out of the folder.
pub struct Resolver {
    host: Arc<Host>,
    loader: Arc<dyn SourceLoader>,
    loaded: Mutex<BTreeMap<String, Shared<Module>>>,
    /// Modules that are being loaded right now, and by which thread: branches load for themselves.
    loading: Mutex<Vec<(ThreadId, String)>>,
}

impl Resolver {
    pub fn new(host: Arc<Host>, loader: Arc<dyn SourceLoader>) -> Self {
        Self { host, loader, loaded: Mutex::default(), loading: Mutex::default() }
    }

    fn load(&self, engine: &Engine, path: &str, position: Position) -> Rhai<Shared<Module>> {
        let source = find(path, self.loader.as_ref()).map_err(|why| not_found(&why, position))?;
        self.host.sources.add(&source);
        if let Some(gateway) = self.host.gateway() {
            let digest = source.digest();
            let kept = gateway.ledger().journal().keep_source(&digest, &source.text);
            kept.map_err(|error| self.host.raise(position, "import", error.into()))?;
            let known = gateway.ledger().past().and_then(|past| past.module(&source.name)) == Some(digest.as_str());
            if !known {
                let entry = Entry::SourceLoaded { name: source.name.clone(), digest };
                self.host.record(position, entry, crate::journal::Durability::Process)?;
            }
        }
        let ast = compiled(engine, &source).map_err(|error| {
            let inner = EvalAltResult::ErrorParsing(*error.0, error.1);
            EvalAltResult::ErrorInModule(path.into(), inner.into(), position)
        })?;
        remember_closures(&self.host, &ast, path);
        Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map(Shared::new)
            .map_err(|error| EvalAltResult::ErrorInModule(path.into(), error, position).into())
    }
}

impl ModuleResolver for Resolver {
    fn resolve(&self, engine: &Engine, _: Option<&str>, path: &str, position: Position) -> Rhai<Shared<Module>> {
        if let Some(module) = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(module.clone());
        }
        let entry = (std::thread::current().id(), path.to_owned());
        let loading = || self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if loading().contains(&entry) {
            return Err(not_found(&format!("module `{path}` imports itself, directly or through others"), position));
        }
        loading().push(entry.clone());
        let result = self.load(engine, path, position);
        loading().retain(|other| *other != entry);
        let module = result?;
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).insert(path.into(), module.clone());
        Ok(module)
    }
}

fn not_found(why: &str, position: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(why.to_owned().into(), position).into()
}

/// The text of a module.
///
/// # Errors
/// Why there is none, and what may have been meant.
pub fn find(path: &str, loader: &dyn SourceLoader) -> Result<Source, String> {
    if let Some(text) = loader.pinned(path) {
        return Ok(Source::new(path, text));
    }
    if let Some((name, text)) = STDLIB.iter().find(|(name, _)| *name == path) {
        return Ok(Source::new(*name, *text));
    }
    let outside =
        path.starts_with('/') || path.contains('\\') || path.split('/').any(|part| part == ".." || part.is_empty());
    if outside {
        return Err(format!(
            "module `{path}` is outside of the script's folder; name it by a path below, without `..`"
        ));
    }
    loader.module(path).map(|text| Source::new(path, text)).map_err(|why| {
        let known = loader.known_modules();
        let names = STDLIB.iter().map(|(name, _)| *name).chain(known.iter().map(String::as_str));
        match did_you_mean(path, names) {
            Some(hint) => format!("there is no module `{path}`: {why}; {hint}"),
            None => format!("there is no module `{path}`: {why}"),
        }
    })
}
