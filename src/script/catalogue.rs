//! All primitives by name.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::category;
use super::primitive::Primitive;

/// Returns all primitives by name.
pub fn catalogue() -> &'static BTreeMap<&'static str, Primitive> {
    static ALL: LazyLock<BTreeMap<&'static str, Primitive>> =
        LazyLock::new(|| category::all().into_iter().map(|primitive| (primitive.name, primitive)).collect());
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Effect;
    use crate::script::reserved::is_reserved;

    #[test]
    fn every_effect_is_registered_and_nothing_else() {
        let mut kinds = Effect::kinds();
        // Requested only by the runner, the gateway and the command line.
        kinds.retain(|kind| !["unlock", "lock_inspect", "lock_break"].contains(kind));
        kinds.sort_unstable();
        let names: Vec<&str> = catalogue().keys().copied().collect();
        assert_eq!(names, kinds);
    }

    #[test]
    fn no_name_is_reserved_by_rhai() {
        for primitive in catalogue().values() {
            assert!(!is_reserved(primitive.name), "{}", primitive.name);
            for option in &primitive.options {
                assert!(!is_reserved(option.name), "{}: {}", primitive.name, option.name);
            }
        }
    }

    #[test]
    fn every_primitive_is_documented() {
        for primitive in catalogue().values() {
            assert!(primitive.summary.ends_with('.'), "{}: summary", primitive.name);
            assert!(primitive.example.contains(primitive.name), "{}: example", primitive.name);
            for name in primitive.positional {
                assert!(primitive.options.iter().any(|option| option.name == *name), "{}: {name}", primitive.name);
            }
        }
    }
}
