//! Checks the generated pages and tables of the book against the program. `UPDATE_DOCS=1` writes them.

#[path = "docs/current.rs"]
mod current;
#[path = "docs/parameters.rs"]
mod parameters;
#[path = "docs/section.rs"]
mod section;

use current::{assert_current, package_file};
use deployer::journal::entry::RunStatus;
use deployer::script::reference::reference;
use deployer::script::source::{SHIPPED, STDLIB};
use deployer::verify::property_docs::property_docs;

/// What each exit code means. README.md and README.ja.md have this table too.
const EXIT_CODES: &[(RunStatus, &str)] = &[
    (RunStatus::Succeeded, "done"),
    (RunStatus::Failed, "failed; rolled back, except what came before `commit()`"),
    (RunStatus::Invalid, "wrong usage, configuration or script; nothing was touched"),
    (RunStatus::Stuck, "stuck: something could not be rolled back; the commands to type are printed"),
    (RunStatus::Locked, "another run holds the lock of the service"),
    (RunStatus::Unfinished, "an interrupted or stuck run comes first: `deployer resume`, `abort` or `resolve`"),
    (RunStatus::Cancelled, "cancelled; rolled back, except what came before `commit()`"),
];

#[test]
fn the_reference_is_current() {
    assert_current("docs/src/reference.md", &reference());
}

#[test]
fn the_page_about_verify_is_current() {
    assert_current("docs/src/verify.md", &property_docs());
}

#[test]
fn every_shipped_script_has_a_chapter_with_its_parameters() {
    for (name, text) in SHIPPED {
        let path = format!("docs/src/{}.md", name.trim_end_matches(".rhai"));
        let table = parameters::table(name, text);
        assert_current(&path, &section::replaced(&package_file(&path), &format!("parameters of {name}"), &table));
    }
}

#[test]
fn the_list_of_shipped_scripts_is_current() {
    let mut list = String::new();
    for (name, text) in SHIPPED {
        let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("// ")).collect();
        let sentence = comment.join(" ");
        let sentence = sentence.split_inclusive(". ").next().unwrap_or_default().trim_end();
        list += &format!("- [{name}]({}.md): {sentence}\n", name.trim_end_matches(".rhai"));
    }
    let page = package_file("docs/src/scripts.md");
    assert_current("docs/src/scripts.md", &section::replaced(&page, "shipped scripts", &list));
}

#[test]
fn the_exit_codes_are_current() {
    let mut table = String::from("| exit code | meaning |\n|---|---|\n");
    for (status, meaning) in EXIT_CODES {
        table += &format!("| {} | {meaning} |\n", status.exit_code());
    }
    let path = "docs/src/troubleshooting.md";
    assert_current(path, &section::replaced(&package_file(path), "exit codes", &table));
    assert!(package_file("README.md").contains(&table), "README.md must have this table:\n{table}");
    for (status, _) in EXIT_CODES {
        let row = format!("\n| {} | ", status.exit_code());
        assert!(package_file("README.ja.md").contains(&row), "README.ja.md has no row for {}", status.exit_code());
    }
}

#[test]
fn every_script_and_module_starts_with_a_description() {
    for (name, text) in SHIPPED.iter().chain(STDLIB) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("// ") && first.len() > 20, "{name} begins with `{first}`");
    }
}
