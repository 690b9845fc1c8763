//! The table of layers in `src/lib.rs` against the code that stacks them.

use super::sources::{package, table};

/// The layers that `gateway/stack.rs` builds, outermost first, by the names of their modules.
fn built() -> Vec<String> {
    let text = std::fs::read_to_string(package().join("src/gateway/stack.rs")).unwrap();
    let layers =
        text.split("Arc::new(").skip(1).filter_map(|rest| rest.split_once("Layer::new(").map(|(name, _)| name));
    let names = layers.filter(|name| name.chars().all(char::is_alphanumeric)).map(str::to_lowercase);
    let mut names: Vec<String> = names.collect();
    names.reverse();
    names
}

#[test]
fn the_documented_layers_are_those_that_are_built() {
    let rows = table("src/lib.rs", "## The layers, outermost first");
    let documented: Vec<String> = rows
        .iter()
        .map(|row| row[0].trim_matches(['[', ']', '`']).trim_start_matches("gateway::").to_owned())
        .collect();
    assert_eq!(documented, built());
}
