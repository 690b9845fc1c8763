//! Holds `docs/reference.md` and the tables of the README current with the program. `UPDATE_DOCS=1` writes them anew.

#[path = "docs/current.rs"]
mod current;
#[path = "docs/parameters.rs"]
mod parameters;

use current::{hold, package_file};
use deployer::script::reference::reference;
use deployer::script::source::{SHIPPED, STDLIB};
use deployer::verify::handbook::handbook;

#[test]
fn the_reference_is_current() {
    hold("docs/reference.md", &reference());
}

#[test]
fn the_handbook_of_verify_is_current() {
    hold("docs/verify.md", &handbook());
}

#[test]
fn the_readme_has_the_parameters_of_every_shipped_script() {
    let mut readme = package_file("README.md");
    for (name, text) in SHIPPED {
        readme = parameters::put(&readme, name, &parameters::table(name, text));
    }
    hold("README.md", &readme);
}

#[test]
fn every_script_and_module_says_first_what_it_is() {
    for (name, text) in SHIPPED.iter().chain(STDLIB) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("// ") && first.len() > 20, "{name} begins with `{first}`");
    }
}
