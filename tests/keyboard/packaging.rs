//! What others install it by: the GitHub Action, the Debian package, the container recipe.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::current::package_file;
use crate::support::deployer::Deployer;

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&package_file(path)).unwrap()
}

#[test]
fn the_action_runs_what_it_is_told() {
    let action = yaml("action.yml");
    let step = &action["runs"]["steps"][1];
    let deployer = Deployer::local();
    deployer.file(
        "hello.rhai",
        "let p = params(#{ a: required(\"string\", \"x\"), b: required(\"int\", \"y\") });\nlog(`${p.a} ${p.b}`);\n",
    );
    let path = Path::new(env!("CARGO_BIN_EXE_deployer")).parent().unwrap().display().to_string();
    let output = Command::new("bash")
        .args(["-eo", "pipefail", "-c", step["run"].as_str().unwrap()])
        .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
        .env("DEPLOYER_STATE", deployer.state())
        .envs([("SCRIPT", "hello.rhai"), ("CONFIG", ""), ("ENVIRONMENT", ""), ("ENGINE", "")])
        .env("SETS", "a=two words\nb=7\n")
        .env("ARGUMENTS", "--engine\nlocal\n")
        .current_dir(deployer.home())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("two words 7"), "{said}");
    // Every input reaches the step.
    let handed: Vec<&str> = step["env"].as_object().unwrap().values().filter_map(Value::as_str).collect();
    for input in action["inputs"].as_object().unwrap().keys().filter(|input| *input != "working-directory") {
        assert!(handed.iter().any(|value| value.contains(&format!("inputs.{input} "))), "{input}");
    }
}

#[test]
fn the_workflow_uses_inputs_that_the_action_has() {
    let inputs = yaml("action.yml")["inputs"].clone();
    let workflow = yaml("examples/manual-generator/.github/workflows/deploy.yml");
    let steps = workflow["jobs"]["deploy"]["steps"].as_array().unwrap().clone();
    let with = steps.iter().find_map(|step| step["with"].as_object()).unwrap();
    for (input, value) in with {
        assert!(inputs[input].is_object(), "{input}");
        if input == "config" {
            assert!(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("examples/manual-generator")
                    .join(value.as_str().unwrap())
                    .is_file()
            );
        }
    }
}

#[test]
fn everything_that_is_packaged_is_there() {
    let manifest: toml::Table = package_file("Cargo.toml").parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    for asset in assets {
        let from = asset[0].as_str().unwrap();
        if !from.starts_with("target/") {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
            let there = if from.contains('*') { folder.parent().unwrap().is_dir() } else { folder.is_file() };
            assert!(there, "{from}");
        }
    }
    // The units find the program wherever it is installed.
    let unit = package_file("examples/proxy/deployer-proxy.service");
    assert!(unit.contains("\nExecStart=deployer proxy run\n"), "{unit}");
}

#[test]
fn the_container_recipe_builds_with_the_rust_of_the_package() {
    let manifest: toml::Table = package_file("Cargo.toml").parse().unwrap();
    let rust = manifest["package"]["rust-version"].as_str().unwrap();
    assert!(package_file("examples/container/Dockerfile").contains(&format!("\nARG RUST_IMAGE=rust:{rust}-")));
    // What was built here is not sent to the engine.
    assert!(package_file(".dockerignore").lines().any(|line| line == "target"));
}
