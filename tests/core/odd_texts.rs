//! Texts that nobody would write: errors, and never a crash.

use std::sync::LazyLock;

use deployer::script::host::Host;
use deployer::script::program::Program;
use deployer::script::source::{SHIPPED, STDLIB, Source};
use proptest::prelude::*;

use crate::check::{checked, loader};

/// The shipped texts, cut into tokens.
static TOKENS: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let texts = SHIPPED.iter().chain(STDLIB).map(|(_, text)| *text);
    texts.map(|text| text.split_inclusive(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()).collect()
});

/// A shipped text with a few of its tokens taken out, doubled, or replaced by those of another place.
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
    fn no_text_is_too_odd(text in r#"([a-z{}()\[\]|#"'`$;:,.0-9 \n+=!<>-]|let |fn |for |in |\|\||\PC){0,60}"#) {
        drop(checked(&text, &[]));
        drop(Program::compile(Source::new("x", text), &loader(&[]), Host::declaring()));
    }

    #[test]
    fn no_mutation_of_a_shipped_script_is_too_odd(text in mutated()) {
        drop(checked(&text, &[]));
    }
}
