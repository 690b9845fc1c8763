//! A cache of compiled scripts. `deployer verify` runs the same scripts thousands of times.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rhai::{AST, ASTNode, Engine, Expr, ParseError, Position, Stmt};

use super::source::Source;

/// A compiled script, with parts of its syntax tree that are often needed.
pub struct Compiled {
    /// The syntax tree.
    pub ast: AST,
    /// Imports with a literal path: path, alias, position.
    pub imports: Vec<(String, String, Position)>,
    /// Rhai's names of the closures in it.
    pub closures: Vec<String>,
}

/// Maximum number of cached scripts.
const CACHE_SIZE: usize = 64;

/// Compiled scripts by name and digest.
type Cache = BTreeMap<(String, String), Arc<Compiled>>;

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// Compiles `source`, or returns it from the cache. All engines have the same functions and settings, so they share
/// compiled scripts.
///
/// # Errors
/// Fails if the text does not parse.
pub fn compile(engine: &Engine, source: &Source) -> Result<Arc<Compiled>, ParseError> {
    let key = (source.name.clone(), source.digest().to_owned());
    let cache = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = cache().get(&key) {
        return Ok(compiled.clone());
    }
    let mut ast = engine.compile(&source.text)?;
    ast.set_source(&source.name);
    let compiled = Arc::new(Compiled { imports: imports(&ast), closures: closures(&ast), ast });
    let mut cache = cache();
    if cache.len() >= CACHE_SIZE {
        cache.clear();
    }
    cache.insert(key, compiled.clone());
    Ok(compiled)
}

/// Returns the imports with a literal path: path, alias, position.
pub fn imports(ast: &AST) -> Vec<(String, String, Position)> {
    let mut imports = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(parts, position))) = path.last()
            && let Expr::StringConstant(path, _) = &parts.0
        {
            imports.push((path.to_string(), parts.1.name.to_string(), *position));
        }
        true
    });
    imports
}

/// Returns the names that Rhai gave to the closures in `ast`.
pub fn closures(ast: &AST) -> Vec<String> {
    ast.iter_functions()
        .map(|function| function.name)
        .filter(|name| name.starts_with("anon$"))
        .map(Into::into)
        .collect()
}
