//! Random and mutated scripts: the parser and the checks report errors and never panic.

use std::sync::LazyLock;

use deployer::script::host::Host;
use deployer::script::program::Program;
use deployer::script::source::{SHIPPED, STDLIB, Source};
use proptest::prelude::*;

use crate::check::{checked, loader};

/// The shipped scripts, split into tokens.
static TOKENS: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let texts = SHIPPED.iter().chain(STDLIB).map(|(_, text)| *text);
    texts.map(|text| text.split_inclusive(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()).collect()
});

/// A shipped script in which a few tokens are removed, duplicated or replaced by others.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3u8);
    (any::<prop::sample::Index>(), prop::collection::vec(change, 1..4)).prop_map(|(which, changes)| {
        let mut tokens = which.get(&TOKENS).clone();
        for (at, from, how) in changes {
            let (at, other) = (at.index(tokens.len()), from.get(&tokens).clone());
            match how {
                0 => drop(tokens.remove(at)),
                1 => tokens.insert(at, other),
                _ => tokens[at] = other,
            }
        }
        tokens.concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn random_text_does_not_panic(text in r#"([a-z{}()\[\]|#"'`$;:,.0-9 \n+=!<>-]|let |fn |for |in |\|\||\PC){0,60}"#) {
        drop(checked(&text, &[]));
        drop(Program::compile(Source::new("x", text), &loader(&[]), Host::declaring()));
    }

    #[test]
    fn mutated_scripts_do_not_panic(text in mutated()) {
        drop(checked(&text, &[]));
    }
}
