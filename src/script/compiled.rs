//! Texts, compiled. Those of a search are the same ones thousands of times: they are compiled once.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rhai::{AST, Engine, ParseError};

use super::source::Source;

/// Texts that are kept.
const KEPT: usize = 64;

static COMPILED: LazyLock<Mutex<BTreeMap<(String, String), Arc<AST>>>> = LazyLock::new(Mutex::default);

/// The text, compiled. Every engine has the same functions and settings, so that what one compiled another can run.
///
/// # Errors
/// When it does not parse.
pub fn compiled(engine: &Engine, source: &Source) -> Result<Arc<AST>, ParseError> {
    let key = (source.name.clone(), source.digest().to_owned());
    let kept = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ast) = kept().get(&key) {
        return Ok(ast.clone());
    }
    let mut ast = engine.compile(&source.text)?;
    ast.set_source(&source.name);
    let ast = Arc::new(ast);
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(key, ast.clone());
    Ok(ast)
}
