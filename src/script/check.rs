//! Static checks of scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::{ASTNode, Expr, Position, Stmt};

use super::catalogue::catalogue;
use super::control_function::CONTROL_FUNCTIONS;
use super::diagnostic::ScriptDiagnostic;
use super::function_call::FunctionCall;
use super::host::Host;
use super::modules::find;
use super::params::{Declaration, Declared};
use super::program::Program;
use super::rhai_error_text::declared_names;
use super::source::{Source, SourceLoader};
use super::stack::deep;
use crate::base::suggest::did_you_mean;

/// Rhai's built-in functions, which are in no package.
const BUILT_IN: &[&str] =
    &["print", "debug", "type_of", "eval", "Fn", "call", "curry", "is_shared", "is_def_var", "is_def_fn"];

/// Returns everything wrong with the script and the modules it imports; empty if it is correct.
pub fn check(source: Source, loader: &Arc<dyn SourceLoader>) -> Vec<ScriptDiagnostic> {
    deep(|| check_all(source, loader))
}

fn check_all(source: Source, loader: &Arc<dyn SourceLoader>) -> Vec<ScriptDiagnostic> {
    let program = match Program::compile(source.clone(), loader, Host::declaring()) {
        Ok(program) => program,
        Err(diagnostic) => return vec![*diagnostic],
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    check_source(&program, loader, &mut Vec::new(), &mut seen, &mut found);
    let has_no_errors = found.iter().all(ScriptDiagnostic::is_warning);
    match Program::declaration(source, loader) {
        Ok(declaration) => check_params(&program, &declaration, &mut found),
        Err(diagnostic) if has_no_errors => found.push(*diagnostic),
        // Likely a consequence of the errors already found.
        Err(_) => {}
    }
    found
}

/// Functions by name, with their numbers of arguments.
type KnownFunctions = BTreeMap<String, BTreeSet<usize>>;

fn check_source(
    program: &Program,
    loader: &Arc<dyn SourceLoader>,
    // The chain of importing modules, outermost first.
    importers: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<ScriptDiagnostic>,
) {
    let source = program.source();
    let mut known = known_functions(program);
    let mut failed = BTreeSet::new();
    for (path, alias, position) in program.imports().iter().cloned() {
        if let Some(first) = importers.iter().position(|module| *module == path) {
            let cycle = importers[first..].iter().chain([&path]).map(|module| format!("`{module}`"));
            let message = format!("modules import each other: {}", cycle.collect::<Vec<_>>().join(" -> "));
            let diagnostic = ScriptDiagnostic::new("deployer::script::circular_import", message)
                .help("move what both need into a third module");
            found.push(diagnostic.at(&source.name, &source.text, position, "closes the cycle"));
            failed.insert(alias);
            continue;
        }
        let module = find(&path, loader.as_ref()).map_err(|why| {
            ScriptDiagnostic::new("deployer::script::unknown_module", why).at(
                &source.name,
                &source.text,
                position,
                "imported here",
            )
        });
        let module = match module {
            Ok(module) => module,
            Err(diagnostic) => {
                found.push(diagnostic);
                failed.insert(alias);
                continue;
            }
        };
        match Program::compile(module, loader, Host::declaring()) {
            Ok(imported) => {
                for function in imported.ast().iter_functions().filter(|function| !function.access.is_private()) {
                    known.entry(format!("{alias}::{}", function.name)).or_default().insert(function.params.len());
                }
                if seen.insert(path.clone()) {
                    importers.push(path);
                    check_source(&imported, loader, importers, seen, found);
                    importers.pop();
                }
            }
            Err(diagnostic) => {
                failed.insert(alias);
                if seen.insert(path) {
                    found.push(*diagnostic);
                }
            }
        }
    }
    program.ast().walk(&mut |path| {
        let Some(node) = path.last() else { return true };
        if let Some(call) = FunctionCall::from_node(node) {
            let of_failed_module = call.name.split_once("::").is_some_and(|(alias, _)| failed.contains(alias));
            if !of_failed_module {
                check_call(source, &known, &call, found);
            }
        }
        if let ASTNode::Stmt(Stmt::For(parts, _)) = node {
            check_loop_capture(source, &parts.0.name, &parts.2, found);
        }
        true
    });
}

/// Returns all functions that can be called without a namespace, including those of the script.
fn known_functions(program: &Program) -> KnownFunctions {
    let mut known = KnownFunctions::new();
    let collected = program.engine().collect_fn_metadata(
        None,
        |function| {
            let name = function.metadata.name.to_string();
            let name = if function.namespace.is_empty() { name } else { format!("{}::{name}", function.namespace) };
            Some((name, function.metadata.num_params))
        },
        true,
    );
    for (name, params) in collected {
        known.entry(name).or_default().insert(params);
    }
    for function in program.ast().iter_functions() {
        known.entry(function.name.into()).or_default().insert(function.params.len());
    }
    for function in CONTROL_FUNCTIONS {
        known.entry(function.name.into()).or_default().extend(function.arities);
    }
    known
}

fn check_call(source: &Source, known: &KnownFunctions, call: &FunctionCall<'_>, found: &mut Vec<ScriptDiagnostic>) {
    let name = call.name.as_str();
    if call.expression.op_token.is_some() || BUILT_IN.contains(&name) || name.starts_with("anon$") {
        return;
    }
    let point = |diagnostic: ScriptDiagnostic, label: &str| {
        diagnostic.at(&source.name, &source.text, call.position, label.to_owned())
    };
    let Some(arities) = known.get(name) else {
        let is_key = || source.text.contains(&format!("{name}:")) || source.text.contains(&format!(".{name} ="));
        if call.is_method && is_key() {
            // Calls the closure stored under a key of a map.
            return;
        }
        let diagnostic =
            ScriptDiagnostic::new("deployer::script::unknown_function", format!("there is no function `{name}`"));
        let names = known.keys().map(String::as_str).filter(|name| name.starts_with(|c: char| c.is_alphabetic()));
        let diagnostic = match did_you_mean(name, names) {
            _ if declared_names(&source.text).contains(&name) => {
                diagnostic.help(format!("call a closure in a variable with `{name}.call(...)`"))
            }
            Some(hint) => diagnostic.help(hint),
            None => diagnostic.help("`deployer reference` lists all functions"),
        };
        found.push(point(diagnostic, "unknown function"));
        return;
    };
    let given = call.expression.args.len() + usize::from(call.is_method);
    if !arities.contains(&given) {
        let accepted: Vec<String> = arities.iter().map(ToString::to_string).collect();
        let noun = if accepted == ["1"] { "argument" } else { "arguments" };
        let message = format!("`{name}` takes {} {noun}, not {given}", accepted.join(" or "));
        let diagnostic = ScriptDiagnostic::new("deployer::script::wrong_arguments", message);
        let diagnostic = match catalogue().get(name) {
            Some(primitive) => diagnostic.help(format!("usage: {}", primitive.signature())),
            None => diagnostic,
        };
        found.push(point(diagnostic, &format!("{given} given")));
        return;
    }
    check_options(source, name, call, found);
}

/// Checks the keys of a literal map in the call of a primitive.
fn check_options(source: &Source, name: &str, call: &FunctionCall<'_>, found: &mut Vec<ScriptDiagnostic>) {
    let Some(primitive) = catalogue().get(name) else { return };
    let Some(Expr::Map(map, _)) = call.expression.args.last() else { return };
    let position = call.expression.args.len() - 1;
    let is_value = primitive.positional.get(position).is_some_and(|_| position > 0);
    if is_value {
        return;
    }
    for (key, _) in &map.0 {
        if primitive.options.iter().all(|option| option.name != key.name.as_str()) {
            let error = primitive.unknown_option(&key.name);
            let mut diagnostic = ScriptDiagnostic::new("deployer::script::unknown_option", error.message);
            diagnostic.help = error.hint;
            found.push(diagnostic.at(&source.name, &source.text, key.pos, "not an option"));
        }
    }
}

/// Warns about `for i in ... { list.push(|| i) }`, where all closures see the last `i`.
fn check_loop_capture(source: &Source, variable: &str, body: &rhai::FlowControl, found: &mut Vec<ScriptDiagnostic>) {
    let captured = body.body.iter().find_map(|statement| captures(statement, variable));
    if let Some(position) = captured {
        let message =
            format!("this closure captures the loop variable `{variable}`: every closure will see its last value");
        found.push(
            ScriptDiagnostic::new("deployer::script::captured_loop_variable", message)
                .help(format!("copy it first, `let copy = {variable};`, and use `copy` in the closure"))
                .at(&source.name, &source.text, position, "the loop variable")
                .warning(),
        );
    }
}

fn captures(statement: &Stmt, variable: &str) -> Option<Position> {
    let mut found = None;
    statement.walk(&mut Vec::new(), &mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Share(names))) = path.last() {
            found = found.or_else(|| names.iter().find(|(name, _)| name.name == variable).map(|(name, _)| name.pos));
        }
        found.is_none()
    });
    found
}

/// Finds `p.helth` if `let p = params(#{...})` does not declare `helth`.
fn check_params(program: &Program, declaration: &Declaration, found: &mut Vec<ScriptDiagnostic>) {
    let source = program.source();
    let mut params_variable = None;
    program.ast().walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Var(parts, ..))) = path.last()
            && let Expr::FnCall(call, _) = &parts.1
            && call.name == "params"
        {
            params_variable = Some(parts.0.name.to_string());
        }
        params_variable.is_none()
    });
    let Some(params_variable) = params_variable else { return };
    program.ast().walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::Dot(parts, ..))) = path.last()
            && let Expr::Variable(variable, ..) = &parts.lhs
            && variable.1 == params_variable.as_str()
            && let Some((name, position, group)) = undeclared(&parts.rhs, declaration)
        {
            let message = format!("`{name}` is not declared in `params`");
            let diagnostic = ScriptDiagnostic::new("deployer::script::undeclared_parameter", message);
            let diagnostic = match did_you_mean(&name, group.0.keys().map(String::as_str)) {
                Some(hint) => diagnostic.help(hint),
                None => diagnostic.help(format!("declare it: `{name}: optional(\"string\", \"\", \"...\")`")),
            };
            found.push(diagnostic.at(&source.name, &source.text, position, "not declared"));
        }
        true
    });
}

/// Returns the first property in the chain that is not declared.
fn undeclared<'a>(chain: &Expr, declaration: &'a Declaration) -> Option<(String, Position, &'a Declaration)> {
    let (property, rest) = match chain {
        Expr::Dot(parts, ..) => (&parts.lhs, Some(&parts.rhs)),
        Expr::Index(parts, ..) => (&parts.lhs, None),
        other => (other, None),
    };
    let Expr::Property(names, position) = property else { return None };
    match declaration.0.get(names.2.as_str()) {
        None => Some((names.2.to_string(), *position, declaration)),
        Some(Declared::Group(group)) => undeclared(rest?, group),
        Some(Declared::Param(_)) => None,
    }
}
