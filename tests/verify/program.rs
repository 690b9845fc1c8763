//! The program itself: output, exit codes, files, and the test cases of the examples.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn deployer(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deployer"));
    command.args(args).current_dir(folder.path()).env_clear().env("HOME", folder.path());
    command.output().unwrap()
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).display().to_string()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_cases_of_the_examples_pass() {
    let folder = tempfile::tempdir().unwrap();
    let output = deployer(&folder, &["test", &example("cases")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).ends_with("4 cases, 0 failed\n"), "{}", text(&output));
}

#[test]
fn a_case_with_a_wrong_expectation_fails_with_a_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let case = std::fs::read_to_string(example("cases/takes_over.toml")).unwrap();
    std::fs::write(folder.path().join("wrong.toml"), case.replace("serves = \"web:v2\"", "serves = \"web:v1\""))
        .unwrap();
    let output = deployer(&folder, &["test", "."]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("`web:v2` answers and not `web:v1`"), "{}", text(&output));
}

#[test]
fn a_violation_is_reported_saved_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let (script, host) = (example("guides/logo_detection.rhai"), example("guides/logo_host.toml"));
    let args = ["verify", &script, "--scenario", &host, "--set", "image=logo:v2", "--junit", "result.xml"];
    let output = deployer(&folder, &args);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("violated: the public address always answers"), "{}", text(&output));
    let junit = std::fs::read_to_string(folder.path().join("result.xml")).unwrap();
    assert!(junit.contains("<failure message="), "{junit}");
    let again = deployer(&folder, &["verify", "--replay", "violations/logo_detection-1.json"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("there is no answer at the end"), "{}", text(&again));
}

#[test]
fn a_script_without_violations_exits_with_0_and_reports_as_json_what_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("look.rhai"), "docker_list(#{ all: true });\n").unwrap();
    std::fs::write(folder.path().join("host.toml"), "seed = 3\n").unwrap();
    let output = deployer(&folder, &["verify", "look.rhai", "--scenario", "host.toml", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["holds"], true);
    assert!(report["runs"].as_u64().unwrap() > 5, "{report}");
    assert_eq!(report["tried"]["docker_list"]["refused"], 1);
    assert_eq!(report["not_tried"], serde_json::json!([]));
}

#[test]
fn expectations_of_the_script_are_checked_at_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let script = "expect(\"web is never gone\", || docker_inspect(\"web\", #{ missing_ok: true }) != ());\n\
                  docker_rename(\"web\", \"other\");\ndocker_rename(\"other\", \"web\");\n";
    std::fs::write(folder.path().join("away.rhai"), script).unwrap();
    let host = "[[containers]]\nspec = { name = \"web\", image = \"web:v1\" }\n";
    std::fs::write(folder.path().join("host.toml"), host).unwrap();
    let output = deployer(&folder, &["verify", "away.rhai", "--scenario", "host.toml", "--no-files"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("violated: web is never gone"), "{}", text(&output));
}
