//! The documentation of one script function as plain data, made from the registrations. Knows no output format.

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, Map};
use serde::Serialize;

use super::category;
use super::control_function::{CONTROL_FUNCTIONS, ControlFunction};
use super::primitive::Primitive;
use crate::base::suggest::did_you_mean;
use crate::effect::{Access, Effect, ErrorKind, Recovery};

/// The chapter of the control functions.
pub const CONTROL_CHAPTER: &str = "Control functions";

/// The error kinds that every primitive may end with.
pub const COMMON_ERRORS: [ErrorKind; 6] = [
    ErrorKind::Invalid,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Cancelled,
    ErrorKind::Journal,
    ErrorKind::Internal,
];

/// The documentation of one function that scripts can call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionDoc {
    /// Its name in scripts.
    pub name: &'static str,
    /// Title of its chapter in the reference.
    pub chapter: &'static str,
    /// The call on one line.
    pub signature: String,
    /// What it does.
    pub summary: &'static str,
    /// Its options. Empty for control functions.
    pub options: Vec<OptionDoc>,
    /// What it returns.
    pub returns: &'static str,
    /// Its own error kinds, besides [`COMMON_ERRORS`]. Empty for control functions.
    pub errors: Vec<ErrorKind>,
    /// `read` or `write`; `None` for control functions.
    pub access: Option<&'static str>,
    /// How a rollback undoes it.
    pub undo: &'static str,
    /// What a resumed run does if its outcome is unknown; `None` for control functions.
    pub recovery: Option<&'static str>,
    /// A call that works.
    pub example: &'static str,
}

/// The documentation of one option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OptionDoc {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its default; `None` if it is required.
    pub default: Option<&'static str>,
    /// Its position among the arguments, from 1; `None` if it can only be given in the map.
    pub position: Option<usize>,
    /// What it means.
    pub meaning: &'static str,
}

/// Returns the documentation of every function: the control functions, then the primitives by chapter.
pub fn function_docs() -> Vec<FunctionDoc> {
    let primitives = category::all();
    let mut chapter = CONTROL_CHAPTER;
    let mut docs: Vec<FunctionDoc> = CONTROL_FUNCTIONS.iter().map(of_control_function).collect();
    for primitive in &primitives {
        let effect = effect_of_example(primitive, &primitives);
        chapter = effect.as_ref().map_or(chapter, chapter_of);
        docs.push(of_primitive(primitive, effect.as_ref(), chapter));
    }
    docs
}

/// Returns the documentation of the function `name`.
///
/// # Errors
/// A hint for an unknown name, such as a similar one.
pub fn function_doc(name: &str) -> Result<FunctionDoc, String> {
    let docs = function_docs();
    let names: Vec<&str> = docs.iter().map(|doc| doc.name).collect();
    let hint = did_you_mean(name, names).unwrap_or_else(|| "`deployer reference` lists them all".into());
    docs.into_iter().find(|doc| doc.name == name).ok_or(hint)
}

fn of_control_function(function: &ControlFunction) -> FunctionDoc {
    let call = function.example.lines().next().unwrap_or_default();
    FunctionDoc {
        name: function.name,
        chapter: CONTROL_CHAPTER,
        signature: call.trim_end_matches(';').to_owned(),
        summary: function.summary,
        options: Vec::new(),
        returns: "",
        errors: Vec::new(),
        access: None,
        undo: "",
        recovery: None,
        example: function.example,
    }
}

fn of_primitive(primitive: &Primitive, effect: Option<&Effect>, chapter: &'static str) -> FunctionDoc {
    let options = primitive.options.iter().map(|option| OptionDoc {
        name: option.name,
        kind: option.kind,
        default: option.default,
        position: primitive.positional.iter().position(|name| *name == option.name).map(|index| index + 1),
        meaning: option.doc,
    });
    let facts = effect.map(Effect::spec);
    FunctionDoc {
        name: primitive.name,
        chapter,
        signature: primitive.signature(),
        summary: primitive.summary,
        options: options.collect(),
        returns: primitive.returns,
        errors: primitive.errors.to_vec(),
        access: facts.map(|facts| match facts.access() {
            Access::Read => "read",
            Access::Write => "write",
        }),
        undo: match facts.map(|facts| facts.access()) {
            Some(Access::Read) => "none needed: it only reads",
            _ if primitive.undo.is_empty() => "none needed",
            _ => primitive.undo,
        },
        recovery: facts.map(|facts| match facts.recovery() {
            Recovery::Repeat => "repeated",
            Recovery::Observe => "looked up",
            Recovery::Ask => "decided by an operator",
        }),
        example: primitive.example,
    }
}

/// Returns the chapter of an effect.
fn chapter_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Container(_) => "Containers",
        Effect::Image(_) => "Images",
        Effect::Volume(_) => "Volumes",
        Effect::Network(_) => "Networks",
        Effect::Compose(_) => "Compose",
        Effect::Health(_) => "Health",
        Effect::Http(_) => "HTTP",
        Effect::Git(_) => "Git",
        Effect::Sqlite(_) => "SQLite",
        Effect::Object(_) => "Storage",
        Effect::Notify(_) => "Notifications",
        Effect::Exec(_) => "Programs",
        Effect::Host(_) => "Host machine",
        Effect::Time(_) => "Time",
        Effect::Approval(_) => "Approvals",
        Effect::Lock(_) => "Locks",
        Effect::Traffic(_) => "Traffic",
    }
}

/// Returns the effect that the example of a primitive requests. Runs the example with stubs that record their calls.
fn effect_of_example(primitive: &Primitive, all: &[Primitive]) -> Option<Effect> {
    let requested = Arc::new(Mutex::new(None));
    let mut engine = Engine::new_raw();
    for known in all {
        let known = Arc::new(known.clone());
        let (requested, is_primitive) = (requested.clone(), known.name == primitive.name);
        let record = {
            let known = known.clone();
            move |args: &[Dynamic]| {
                if is_primitive && let Ok(effect) = known.effect(args) {
                    *requested.lock().unwrap_or_else(PoisonError::into_inner) = Some(effect);
                }
                // Stands in for a container in later calls of the example.
                Map::from([("id".into(), "1".into()), ("name".into(), "web".into())])
            }
        };
        for arity in known.arities() {
            let record = record.clone();
            match arity {
                0 => engine.register_fn(known.name, move || record(&[])),
                1 => engine.register_fn(known.name, move |a: Dynamic| record(&[a])),
                2 => engine.register_fn(known.name, move |a: Dynamic, b: Dynamic| record(&[a, b])),
                _ => engine.register_fn(known.name, move |a: Dynamic, b: Dynamic, c: Dynamic| record(&[a, b, c])),
            };
        }
    }
    // The example may fail on the stub's result; only its request matters.
    drop(engine.run(primitive.example));
    requested.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::fault::FaultKind;

    #[test]
    fn every_example_requests_its_own_effect() {
        let primitives = category::all();
        for primitive in &primitives {
            let effect = effect_of_example(primitive, &primitives);
            assert_eq!(effect.map(|effect| effect.kind()), Some(primitive.name));
        }
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        assert_eq!(function_doc("docker_run").unwrap().chapter, "Containers");
        assert_eq!(function_doc("step").unwrap().chapter, CONTROL_CHAPTER);
        assert_eq!(function_doc("dokcer_run").unwrap_err(), "did you mean `docker_run`?");
    }

    #[test]
    fn errors_of_injected_faults_are_documented() {
        let primitives = category::all();
        for primitive in &primitives {
            let effect = effect_of_example(primitive, &primitives).unwrap();
            let strikes = [(FaultKind::Refused, ErrorKind::Refused), (FaultKind::DiskFull, ErrorKind::DiskFull)];
            for (fault, kind) in strikes {
                let documented = primitive.errors.contains(&kind);
                assert!(documented || !fault.applies_to(&effect), "`{}` does not document `{kind}`", primitive.name);
            }
        }
        // Only these have no errors of their own.
        let without_errors: Vec<&str> =
            primitives.iter().filter(|known| known.errors.is_empty()).map(|known| known.name).collect();
        assert_eq!(without_errors, ["env", "sleep", "now"]);
    }

    #[test]
    fn every_primitive_documents_result_undo_and_recovery() {
        for doc in function_docs().iter().filter(|doc| doc.access.is_some()) {
            assert!(!doc.summary.is_empty() && !doc.returns.is_empty() && !doc.undo.is_empty(), "{}", doc.name);
            assert!(doc.recovery.is_some() && doc.example.contains(doc.name), "{}", doc.name);
            if doc.access == Some("write") {
                assert_ne!(doc.undo, "none needed: it only reads", "{}", doc.name);
            }
        }
    }

    #[test]
    fn common_errors_are_not_repeated() {
        for doc in function_docs() {
            let common = doc.errors.iter().find(|kind| COMMON_ERRORS.contains(kind));
            assert_eq!(common, None, "{}", doc.name);
        }
    }
}
