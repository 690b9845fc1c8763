//! One page of the reference: everything there is to say of one word or primitive, as plain data.
//! Made from the registrations; knows no format and performs nothing.

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, Map};
use serde::Serialize;

use super::control::{WORDS, Word};
use super::family;
use super::primitive::Primitive;
use crate::base::suggest::did_you_mean;
use crate::effect::{Access, Effect, ErrorKind, Recovery};

/// The chapter of what steers the run itself.
pub const WORDS_CHAPTER: &str = "Words";

/// The kinds of error that every primitive may end with.
pub const COMMON_ERRORS: [ErrorKind; 6] = [
    ErrorKind::Invalid,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Cancelled,
    ErrorKind::Journal,
    ErrorKind::Internal,
];

/// What there is to say of one name that scripts may call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    pub name: &'static str,
    pub chapter: &'static str,
    /// The call in one line.
    pub signature: String,
    pub summary: &'static str,
    pub options: Vec<OptionLine>,
    pub returns: &'static str,
    /// The kinds of error of its own. Empty for words.
    pub errors: Vec<ErrorKind>,
    /// Whether it changes anything outside; none for words.
    pub access: Option<&'static str>,
    /// How it is taken back.
    pub undo: &'static str,
    /// What becomes of it after a crash.
    pub recovery: Option<&'static str>,
    /// A call that works.
    pub example: &'static str,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OptionLine {
    pub name: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// None: it must be given.
    pub default: Option<&'static str>,
    /// Its place among the arguments, from 1; none for what stands in the map alone.
    pub position: Option<usize>,
    pub meaning: &'static str,
}

/// All pages: the words, then the primitives, chapter by chapter.
pub fn pages() -> Vec<Page> {
    let primitives = family::all();
    let mut chapter = WORDS_CHAPTER;
    let mut pages: Vec<Page> = WORDS.iter().map(of_word).collect();
    for primitive in &primitives {
        let effect = asked_by_example(primitive, &primitives);
        chapter = effect.as_ref().map_or(chapter, chapter_of);
        pages.push(of_primitive(primitive, effect.as_ref(), chapter));
    }
    pages
}

/// The page of a name.
///
/// # Errors
/// What may have been meant.
pub fn page(name: &str) -> Result<Page, String> {
    let pages = pages();
    let names: Vec<&str> = pages.iter().map(|page| page.name).collect();
    let hint = did_you_mean(name, names).unwrap_or_else(|| "`deployer reference` lists them all".into());
    pages.into_iter().find(|page| page.name == name).ok_or(hint)
}

fn of_word(word: &Word) -> Page {
    let call = word.example.lines().next().unwrap_or_default();
    Page {
        name: word.name,
        chapter: WORDS_CHAPTER,
        signature: call.trim_end_matches(';').to_owned(),
        summary: word.summary,
        options: Vec::new(),
        returns: "",
        errors: Vec::new(),
        access: None,
        undo: "",
        recovery: None,
        example: word.example,
    }
}

fn of_primitive(primitive: &Primitive, effect: Option<&Effect>, chapter: &'static str) -> Page {
    let options = primitive.options.iter().map(|option| OptionLine {
        name: option.name,
        kind: option.kind,
        default: option.default,
        position: primitive.positional.iter().position(|name| *name == option.name).map(|index| index + 1),
        meaning: option.doc,
    });
    let facts = effect.map(Effect::facts);
    Page {
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
            Some(Access::Read) => "nothing to take back: it only reads",
            _ if primitive.undo.is_empty() => "nothing to take back",
            _ => primitive.undo,
        },
        recovery: facts.map(|facts| match facts.recovery() {
            Recovery::Repeat => "repeated",
            Recovery::Observe => "looked up",
            Recovery::Ask => "left to a person",
        }),
        example: primitive.example,
    }
}

/// The chapter of an effect. Closed: whoever adds a family names its chapter here.
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
        Effect::Host(_) => "The machine",
        Effect::Time(_) => "Time",
        Effect::Approval(_) => "Approvals",
        Effect::Lock(_) => "Locks",
        Effect::Traffic(_) => "Traffic",
    }
}

/// The effect that a primitive's own example asks for: the example is run with primitives that only listen.
fn asked_by_example(primitive: &Primitive, all: &[Primitive]) -> Option<Effect> {
    let asked = Arc::new(Mutex::new(None));
    let mut engine = Engine::new_raw();
    for known in all {
        let known = Arc::new(known.clone());
        let (asked, wanted) = (asked.clone(), known.name == primitive.name);
        let listen = {
            let known = known.clone();
            move |args: &[Dynamic]| {
                if wanted && let Ok(effect) = known.effect(args) {
                    *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(effect);
                }
                // What passes for a container, wherever the example hands it on.
                Map::from([("id".into(), "1".into()), ("name".into(), "web".into())])
            }
        };
        for arity in known.arities() {
            let listen = listen.clone();
            match arity {
                0 => engine.register_fn(known.name, move || listen(&[])),
                1 => engine.register_fn(known.name, move |a: Dynamic| listen(&[a])),
                2 => engine.register_fn(known.name, move |a: Dynamic, b: Dynamic| listen(&[a, b])),
                _ => engine.register_fn(known.name, move |a: Dynamic, b: Dynamic, c: Dynamic| listen(&[a, b, c])),
            };
        }
    }
    // What it does with the answer may fail: nobody answered.
    drop(engine.run(primitive.example));
    asked.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::fault::FaultKind;

    #[test]
    fn every_example_asks_for_its_own_effect() {
        let primitives = family::all();
        for primitive in &primitives {
            let effect = asked_by_example(primitive, &primitives);
            assert_eq!(effect.map(|effect| effect.kind()), Some(primitive.name));
        }
    }

    #[test]
    fn a_page_is_found_by_its_name_or_what_may_have_been_meant() {
        assert_eq!(page("docker_run").unwrap().chapter, "Containers");
        assert_eq!(page("step").unwrap().chapter, WORDS_CHAPTER);
        assert_eq!(page("dokcer_run").unwrap_err(), "did you mean `docker_run`?");
    }

    #[test]
    fn what_can_strike_a_primitive_is_on_its_page() {
        let primitives = family::all();
        for primitive in &primitives {
            let effect = asked_by_example(primitive, &primitives).unwrap();
            let strikes = [(FaultKind::Refused, ErrorKind::Refused), (FaultKind::DiskFull, ErrorKind::DiskFull)];
            for (fault, kind) in strikes {
                let told = primitive.errors.contains(&kind);
                assert!(told || !fault.strikes(&effect), "`{}` does not tell of `{kind}`", primitive.name);
            }
        }
        // What only deployer itself knows cannot fail, or says how.
        let silent: Vec<&str> =
            primitives.iter().filter(|known| known.errors.is_empty()).map(|known| known.name).collect();
        assert_eq!(silent, ["env", "sleep", "now"]);
    }

    #[test]
    fn every_page_says_what_comes_back_and_how_it_is_taken_back() {
        for page in pages().iter().filter(|page| page.access.is_some()) {
            assert!(!page.summary.is_empty() && !page.returns.is_empty() && !page.undo.is_empty(), "{}", page.name);
            assert!(page.recovery.is_some() && page.example.contains(page.name), "{}", page.name);
            if page.access == Some("write") {
                assert_ne!(page.undo, "nothing to take back: it only reads", "{}", page.name);
            }
        }
    }

    #[test]
    fn no_page_repeats_what_holds_for_all() {
        for page in pages() {
            let common = page.errors.iter().find(|kind| COMMON_ERRORS.contains(kind));
            assert_eq!(common, None, "{}", page.name);
        }
    }
}
