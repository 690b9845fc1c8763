//! Finds what is wrong with a script without running it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::catalogue::catalogue;
use super::control::WORDS;
use super::diagnostic::ScriptDiagnostic;
use super::host::Host;
use super::modules::find;
use super::params::{Declaration, Declared};
use super::program::Program;
use super::source::{Source, SourceLoader};
use super::stack::deep;
use super::wording::declared_names;
use crate::base::suggest::did_you_mean;

/// Functions of the language itself that are in no package.
const BUILT_IN: &[&str] =
    &["print", "debug", "type_of", "eval", "Fn", "call", "curry", "is_shared", "is_def_var", "is_def_fn"];

/// Everything that is wrong with the script and the modules it imports; empty when it is sound.
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
    let sound = found.iter().all(ScriptDiagnostic::is_warning);
    match Program::declaration(source, loader) {
        Ok(declaration) => check_params(&program, &declaration, &mut found),
        Err(diagnostic) if sound => found.push(*diagnostic),
        // It comes from what was found, or will be found once that is mended.
        Err(_) => {}
    }
    found
}

/// Functions by name, with the numbers of arguments they take.
type Known = BTreeMap<String, BTreeSet<usize>>;

fn check_source(
    program: &Program,
    loader: &Arc<dyn SourceLoader>,
    // The modules that lead here, outermost first.
    above: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<ScriptDiagnostic>,
) {
    let source = program.source();
    let mut known = functions_of(program);
    let mut broken = BTreeSet::new();
    for (path, alias, position) in program.imports().iter().cloned() {
        if let Some(first) = above.iter().position(|module| *module == path) {
            let circle = above[first..].iter().chain([&path]).map(|module| format!("`{module}`"));
            let message = format!("modules import each other: {}", circle.collect::<Vec<_>>().join(" -> "));
            let diagnostic = ScriptDiagnostic::new("deployer::script::circular_import", message)
                .help("move what both need into a module of its own");
            found.push(diagnostic.at(&source.name, &source.text, position, "closes the circle"));
            broken.insert(alias);
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
                broken.insert(alias);
                continue;
            }
        };
        match Program::compile(module, loader, Host::declaring()) {
            Ok(imported) => {
                for function in imported.ast().iter_functions().filter(|function| !function.access.is_private()) {
                    known.entry(format!("{alias}::{}", function.name)).or_default().insert(function.params.len());
                }
                if seen.insert(path.clone()) {
                    above.push(path);
                    check_source(&imported, loader, above, seen, found);
                    above.pop();
                }
            }
            Err(diagnostic) => {
                broken.insert(alias);
                if seen.insert(path) {
                    found.push(*diagnostic);
                }
            }
        }
    }
    program.ast().walk(&mut |path| {
        let Some(node) = path.last() else { return true };
        if let Some(call) = called(node) {
            let of_broken = call.name.split_once("::").is_some_and(|(alias, _)| broken.contains(alias));
            if !of_broken {
                check_call(source, &known, &call, found);
            }
        }
        if let ASTNode::Stmt(Stmt::For(parts, _)) = node {
            check_loop_capture(source, &parts.0.name, &parts.2, found);
        }
        true
    });
}

/// Everything that can be called without a namespace, and what the script defines.
fn functions_of(program: &Program) -> Known {
    let mut known = Known::new();
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
    for word in WORDS {
        known.entry(word.name.into()).or_default().extend(word.arities);
    }
    known
}

/// A call in the script.
pub struct Called<'a> {
    pub name: String,
    expression: &'a FnCallExpr,
    position: Position,
    method: bool,
}

/// The call that a node is, if it is one.
pub fn called<'a>(node: &ASTNode<'a>) -> Option<Called<'a>> {
    let (expression, position, method) = match node {
        ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position)) => {
            (call.as_ref(), *position, false)
        }
        ASTNode::Expr(Expr::MethodCall(call, position)) => (call.as_ref(), *position, true),
        _ => return None,
    };
    let name = if expression.namespace.is_empty() {
        expression.name.to_string()
    } else {
        format!("{}::{}", expression.namespace, expression.name)
    };
    Some(Called { name, expression, position, method })
}

fn check_call(source: &Source, known: &Known, call: &Called<'_>, found: &mut Vec<ScriptDiagnostic>) {
    let name = call.name.as_str();
    if call.expression.op_token.is_some() || BUILT_IN.contains(&name) || name.starts_with("anon$") {
        return;
    }
    let point = |diagnostic: ScriptDiagnostic, label: &str| {
        diagnostic.at(&source.name, &source.text, call.position, label.to_owned())
    };
    let Some(arities) = known.get(name) else {
        let is_key = || source.text.contains(&format!("{name}:")) || source.text.contains(&format!(".{name} ="));
        if call.method && is_key() {
            // The closure that stands under a key of a map.
            return;
        }
        let diagnostic =
            ScriptDiagnostic::new("deployer::script::unknown_function", format!("there is no function `{name}`"));
        let names = known.keys().map(String::as_str).filter(|name| name.starts_with(|c: char| c.is_alphabetic()));
        let diagnostic = match did_you_mean(name, names) {
            _ if declared_names(&source.text).contains(&name) => {
                diagnostic.help(format!("a closure that a variable holds is called by `{name}.call(...)`"))
            }
            Some(hint) => diagnostic.help(hint),
            None => diagnostic.help("docs/reference.md lists the primitives"),
        };
        found.push(point(diagnostic, "not known"));
        return;
    };
    let given = call.expression.args.len() + usize::from(call.method);
    if !arities.contains(&given) {
        let wanted: Vec<String> = arities.iter().map(ToString::to_string).collect();
        let noun = if wanted == ["1"] { "argument" } else { "arguments" };
        let message = format!("`{name}` takes {} {noun}, not {given}", wanted.join(" or "));
        let diagnostic = ScriptDiagnostic::new("deployer::script::wrong_arguments", message);
        let diagnostic = match catalogue().get(name) {
            Some(primitive) => diagnostic.help(format!("it is called as {}", primitive.signature())),
            None => diagnostic,
        };
        found.push(point(diagnostic, &format!("{given} given")));
        return;
    }
    check_options(source, name, call, found);
}

/// Keys of a map that is written out in the call of a primitive.
fn check_options(source: &Source, name: &str, call: &Called<'_>, found: &mut Vec<ScriptDiagnostic>) {
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

/// `for i in ... { list.push(|| i) }`: all closures see the last `i`.
fn check_loop_capture(source: &Source, variable: &str, body: &rhai::FlowControl, found: &mut Vec<ScriptDiagnostic>) {
    let captured = body.body.iter().find_map(|statement| captures(statement, variable));
    if let Some(position) = captured {
        let message =
            format!("this closure captures the loop variable `{variable}`: all of them will see its last value");
        found.push(
            ScriptDiagnostic::new("deployer::script::captured_loop_variable", message)
                .help(format!("copy it first: `let mine = {variable};`, and use `mine` in the closure"))
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

/// `p.helth` where `let p = params(#{...})` declares no `helth`.
fn check_params(program: &Program, declaration: &Declaration, found: &mut Vec<ScriptDiagnostic>) {
    let source = program.source();
    let mut holder = None;
    program.ast().walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Var(parts, ..))) = path.last()
            && let Expr::FnCall(call, _) = &parts.1
            && call.name == "params"
        {
            holder = Some(parts.0.name.to_string());
        }
        holder.is_none()
    });
    let Some(holder) = holder else { return };
    program.ast().walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::Dot(parts, ..))) = path.last()
            && let Expr::Variable(variable, ..) = &parts.lhs
            && variable.1 == holder.as_str()
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

/// The first property on the way that the declaration does not have.
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
