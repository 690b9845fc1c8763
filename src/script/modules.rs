//! Module resolution: the standard library, then the folder of the script.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::compiled::compile;
use super::host::{Host, Rhai};
use super::source::{STDLIB, Source, SourceLoader, stdlib};
use crate::base::suggest::did_you_mean;
use crate::journal::Durability;
use crate::journal::entry::Entry;

/// Evaluated modules of the standard library that import nothing else. They hold no state of a run, so that all runs
/// share them.
static SHARED: LazyLock<Mutex<BTreeMap<String, Shared<Module>>>> = LazyLock::new(Mutex::default);

fn shared_modules() -> MutexGuard<'static, BTreeMap<String, Shared<Module>>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A module loaded by a run.
struct Loaded {
    module: Shared<Module>,
    /// Whether it and all its imports are the embedded standard library. A replayed run uses its pinned texts, which may
    /// come from an older version.
    shipped: bool,
}

/// Resolves modules: the standard library first, then the folder of the script. Rejects import cycles and paths outside
/// of the folder.
pub struct Resolver {
    host: Arc<Host>,
    loader: Arc<dyn SourceLoader>,
    loaded: Mutex<BTreeMap<String, Loaded>>,
    /// Modules being loaded, with the loading thread. Each branch of a `parallel` loads its own.
    loading: Mutex<Vec<(ThreadId, String)>>,
}

impl Resolver {
    /// Creates the resolver of one run.
    pub fn new(host: Arc<Host>, loader: Arc<dyn SourceLoader>) -> Self {
        Self { host, loader, loaded: Mutex::default(), loading: Mutex::default() }
    }

    fn load(&self, engine: &Engine, path: &str, position: Position) -> Rhai<Loaded> {
        let source = find(path, self.loader.as_ref()).map_err(|why| not_found(&why, position))?;
        self.record_source(&source, position)?;
        let compiled = compile(engine, &source).map_err(|error| {
            let inner = EvalAltResult::ErrorParsing(*error.0, error.1);
            EvalAltResult::ErrorInModule(path.into(), inner.into(), position)
        })?;
        self.host.sources.add_closures(&compiled.closures, path);
        let mut shipped = stdlib(path).is_some_and(|shipped| *shipped == source);
        if shipped {
            for (import, _, position) in &compiled.imports {
                self.resolve(engine, None, import, *position)?;
                shipped &= self.loaded().get(import).is_some_and(|loaded| loaded.shipped);
            }
        }
        let shared = shared_modules().get(path).cloned();
        if let Some(module) = shared.filter(|_| shipped) {
            return Ok(Loaded { module, shipped });
        }
        let module = Module::eval_ast_as_new(Scope::new(), &compiled.ast, engine)
            .map(Shared::new)
            .map_err(|error| EvalAltResult::ErrorInModule(path.into(), error, position))?;
        if shipped {
            shared_modules().insert(path.to_owned(), module.clone());
        }
        Ok(Loaded { module, shipped })
    }

    fn loaded(&self) -> MutexGuard<'_, BTreeMap<String, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the text in the journal and records that it was loaded.
    fn record_source(&self, source: &Source, position: Position) -> Rhai<()> {
        self.host.sources.add(source);
        let Some(gateway) = self.host.gateway() else { return Ok(()) };
        let (ledger, digest) = (gateway.ledger(), source.digest());
        let stored = ledger.journal().keep_source(digest, &source.text);
        stored.map_err(|error| self.host.raise(position, "import", error.into()))?;
        if ledger.replay_cursor().is_some_and(|cursor| cursor.module(&source.name) == Some(digest)) {
            return Ok(());
        }
        let entry = Entry::SourceLoaded { name: source.name.clone(), digest: digest.to_owned() };
        self.host.record(position, entry, Durability::Process)
    }
}

impl ModuleResolver for Resolver {
    fn resolve(&self, engine: &Engine, _: Option<&str>, path: &str, position: Position) -> Rhai<Shared<Module>> {
        if let Some(loaded) = self.loaded().get(path) {
            return Ok(loaded.module.clone());
        }
        let entry = (std::thread::current().id(), path.to_owned());
        let loading = || self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if loading().contains(&entry) {
            return Err(not_found(&format!("module `{path}` imports itself, directly or through others"), position));
        }
        loading().push(entry.clone());
        let result = self.load(engine, path, position);
        loading().retain(|other| *other != entry);
        let loaded = result?;
        let module = loaded.module.clone();
        self.loaded().insert(path.into(), loaded);
        Ok(module)
    }
}

fn not_found(why: &str, position: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(why.to_owned().into(), position).into()
}

/// Returns the text of a module.
///
/// # Errors
/// Returns a message with a suggestion if there is no such module.
pub fn find(path: &str, loader: &dyn SourceLoader) -> Result<Source, String> {
    if let Some(text) = loader.pinned(path) {
        return Ok(Source::new(path, text));
    }
    if let Some(source) = stdlib(path) {
        return Ok(source.clone());
    }
    let outside =
        path.starts_with('/') || path.contains('\\') || path.split('/').any(|part| part == ".." || part.is_empty());
    if outside {
        return Err(format!("module `{path}` is outside of the script's folder; use a relative path without `..`"));
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

#[cfg(test)]
mod tests {
    use rhai::Stmt;

    use super::*;
    use crate::script::program::Program;

    /// Loads only the standard library, with one of its modules pinned to another text.
    struct Pinned(Option<&'static str>);

    impl SourceLoader for Pinned {
        fn pinned(&self, name: &str) -> Option<String> {
            (self.0 == Some(name)).then(|| format!("// an older version\n{}", stdlib(name).unwrap().text))
        }

        fn module(&self, _: &str) -> Result<String, String> {
            Err("no other modules".into())
        }

        fn known_modules(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn resolved(path: &str, pinned: Option<&'static str>) -> Shared<Module> {
        let loader: Arc<dyn SourceLoader> = Arc::new(Pinned(pinned));
        let program = Program::compile(Source::new("a.rhai", ""), &loader, Host::declaring()).unwrap();
        let resolver = Resolver::new(program.host().clone(), loader);
        resolver.resolve(program.engine(), None, path, Position::NONE).unwrap()
    }

    #[test]
    fn a_module_is_shared_unless_a_text_below_it_differs() {
        // `std/mode` imports `std/release`, which imports `std/route`.
        let shared = resolved("std/mode", None);
        for pinned in ["std/route", "std/release", "std/mode"] {
            assert!(!Arc::ptr_eq(&shared, &resolved("std/mode", Some(pinned))), "{pinned}");
        }
        assert!(Arc::ptr_eq(&shared, &resolved("std/mode", Some("std/announce"))));
        assert!(Arc::ptr_eq(&shared, &resolved("std/mode", None)));
    }

    #[test]
    fn the_stdlib_holds_only_imports_and_functions() {
        let loader: Arc<dyn SourceLoader> = Arc::new(Pinned(None));
        for (name, _) in STDLIB {
            let program = Program::compile(stdlib(name).unwrap().clone(), &loader, Host::declaring()).unwrap();
            let others = program.ast().statements().iter().filter(|statement| !matches!(statement, Stmt::Import(..)));
            assert_eq!(others.count(), 0, "{name} has statements that run on import");
        }
    }
}
