//! Holds the pages of the reference against what worlds really answer: an error of a kind that its page does not list
//! is one that nobody can have prepared for.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use deployer::effect::{EffectError, ErrorKind};
use deployer::script::page::{COMMON_ERRORS, pages};

/// Fails unless the page of this primitive knows such an error.
pub fn assert_told(kind: &str, error: &EffectError) {
    static TOLD: OnceLock<BTreeMap<&str, Vec<ErrorKind>>> = OnceLock::new();
    let told = TOLD.get_or_init(|| pages().into_iter().map(|page| (page.name, page.errors)).collect());
    let known = COMMON_ERRORS.contains(&error.kind) || told.get(kind).is_some_and(|own| own.contains(&error.kind));
    assert!(known, "the page of `{kind}` does not tell of `{}`: {error:?}", error.kind);
}
