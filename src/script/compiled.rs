//! Texts, compiled. Those of a search are the same ones thousands of times: they are compiled once.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rhai::{AST, ASTNode, Engine, Expr, ParseError, Position, Stmt};

use super::source::Source;

/// A text, and what is asked of it again and again.
pub struct Compiled {
    pub ast: AST,
    /// Imports with a literal path: path, alias, place.
    pub imports: Vec<(String, String, Position)>,
    /// Names of the closures that are written in it.
    pub closures: Vec<String>,
}

/// Texts that are kept.
const KEPT: usize = 64;

/// By name and digest.
type ByText = BTreeMap<(String, String), Arc<Compiled>>;

static COMPILED: LazyLock<Mutex<ByText>> = LazyLock::new(Mutex::default);

/// The text, compiled. Every engine has the same functions and settings, so that what one compiled another can run.
///
/// # Errors
/// When it does not parse.
pub fn compiled(engine: &Engine, source: &Source) -> Result<Arc<Compiled>, ParseError> {
    let key = (source.name.clone(), source.digest().to_owned());
    let kept = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = kept().get(&key) {
        return Ok(compiled.clone());
    }
    let mut ast = engine.compile(&source.text)?;
    ast.set_source(&source.name);
    let compiled = Arc::new(Compiled { imports: imports(&ast), closures: closures(&ast), ast });
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(key, compiled.clone());
    Ok(compiled)
}

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

/// The language names them itself.
pub fn closures(ast: &AST) -> Vec<String> {
    ast.iter_functions()
        .map(|function| function.name)
        .filter(|name| name.starts_with("anon$"))
        .map(Into::into)
        .collect()
}
