//! Checks that the reference documents every kind of error that the worlds return. A script cannot handle an error
//! that is not documented.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use deployer::effect::{EffectError, ErrorKind};
use deployer::script::function_doc::{COMMON_ERRORS, function_docs};

/// Asserts that the reference page of this primitive lists the kind of this error.
pub fn assert_documented(kind: &str, error: &EffectError) {
    static DOCUMENTED: OnceLock<BTreeMap<&str, Vec<ErrorKind>>> = OnceLock::new();
    let documented =
        DOCUMENTED.get_or_init(|| function_docs().into_iter().map(|page| (page.name, page.errors)).collect());
    let is_documented =
        COMMON_ERRORS.contains(&error.kind) || documented.get(kind).is_some_and(|kinds| kinds.contains(&error.kind));
    assert!(is_documented, "the page of `{kind}` does not document `{}`: {error:?}", error.kind);
}
