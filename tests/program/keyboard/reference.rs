//! Tests of `deployer help`, `deployer reference` and `deployer definitions`.

use serde_json::Value;

use crate::support::deployer::Deployer;

#[test]
fn help_explains_a_primitive_from_its_registration() {
    let deployer = Deployer::local().env("COLUMNS", "72");
    let help = deployer.call(&["help", "docker_stop"]).ok().stdout;
    for part in ["docker_stop(container, #{grace, ", "Options", "required", "default \"", "Errors         `not_found`"]
    {
        assert!(help.contains(part), "no `{part}` in\n{help}");
    }
    for part in ["Returns ", "Undo ", "After a crash ", "Example\n"] {
        assert!(help.contains(part), "no `{part}` in\n{help}");
    }
}

#[test]
fn help_explains_keywords_and_commands_and_suggests_corrections() {
    let deployer = Deployer::local();
    deployer.call(&["help", "on_rollback"]).ok().says("in reverse order among all undos");
    deployer.call(&["help", "check"]).ok().says("Check a script for errors");
    deployer.call(&["help"]).ok().says("Exit codes:");
    deployer.call(&["help", "docker_rum"]).code(2).says("did you mean `docker_run`?");
    deployer.call(&["help", "chekc"]).code(2).says("did you mean `check`?");
}

#[test]
fn the_reference_is_printed_as_markdown_and_as_json() {
    let deployer = Deployer::local();
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/reference.md")).unwrap();
    assert_eq!(deployer.call(&["reference"]).ok().stdout, written);
    let json: Value = serde_json::from_str(&deployer.call(&["reference", "--format", "json"]).ok().stdout).unwrap();
    let pages = json["pages"].as_array().unwrap();
    let run = pages.iter().find(|page| page["name"] == "docker_run").unwrap();
    assert_eq!((&run["chapter"], &run["access"]), (&"Containers".into(), &"write".into()));
    let image = run["options"].as_array().unwrap().iter().find(|option| option["name"] == "image").unwrap();
    assert_eq!((&image["type"], &image["default"]), (&"string".into(), &Value::Null));
    assert!(run["errors"].as_array().unwrap().contains(&"port_taken".into()), "{run}");
    assert!(json["errors"]["port_taken"].is_string());
}

#[test]
fn definitions_are_written_into_the_folder() {
    let deployer = Deployer::local();
    deployer.call(&["definitions", "editor/defs"]).ok();
    let text = std::fs::read_to_string(deployer.home().join("editor/defs/deployer.d.rhai")).unwrap();
    assert!(text.starts_with("module static;\n") && text.contains("fn docker_run("), "{text}");
    deployer.call(&["definitions", "/dev/null/x"]).code(2).says("cannot be written");
}
