//! Ways to install deployer: the GitHub Action, the Debian package, the Dockerfile.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::current::package_file;
use crate::support::deployer::Deployer;

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&package_file(path)).unwrap()
}

#[test]
fn the_action_runs_the_given_script() {
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
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.contains("two words 7"), "{stderr}");
    // The step uses every input of the action.
    let values: Vec<&str> = step["env"].as_object().unwrap().values().filter_map(Value::as_str).collect();
    for input in action["inputs"].as_object().unwrap().keys().filter(|input| *input != "working-directory") {
        assert!(values.iter().any(|value| value.contains(&format!("inputs.{input} "))), "{input}");
    }
}

/// The folder of a CI runner, with a release of the repository of the action, which is read with `file://`.
struct Runner {
    folder: tempfile::TempDir,
}

impl Runner {
    fn new() -> Self {
        let runner = Self { folder: tempfile::tempdir().unwrap() };
        let lines = format!(
            "mkdir -p me/deployer/releases/download/v1.2.3 && cd me/deployer/releases/download/v1.2.3\n\
             echo program >deployer && tar -czf {0} deployer && sha256sum {0} >SHA256SUMS",
            Self::archive()
        );
        assert!(Command::new("sh").args(["-ec", &lines]).current_dir(runner.folder.path()).status().unwrap().success());
        runner
    }

    fn archive() -> String {
        format!("deployer-{}-unknown-linux-musl.tar.gz", std::env::consts::ARCH)
    }

    /// Runs the step of the action that installs deployer. A fake `cargo` prints `compiled`.
    fn install(&self, reference: &str) -> std::process::Output {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let step = yaml("action.yml")["runs"]["steps"][0]["run"].as_str().unwrap().to_owned();
        let lines = format!("cargo() {{ echo compiled; }}\n{step}");
        Command::new("bash")
            .args(["-eo", "pipefail", "-c", &lines])
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("REF", reference), ("REPOSITORY", "me/deployer"), ("ACTION", ".")])
            .envs([("SERVER", format!("file://{}", self.folder.path().display()))])
            .envs([("RUNNER_TEMP", path("temp")), ("GITHUB_PATH", path("path"))])
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }
}

#[test]
fn the_action_downloads_the_release_of_its_tag() {
    let runner = Runner::new();
    let output = runner.install("v1.2.3");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(runner.read("temp/deployer/bin/deployer").as_deref(), Some("program\n"));
    assert!(runner.read("path").unwrap().ends_with("/temp/deployer/bin\n"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("compiled"));
}

#[test]
fn the_action_compiles_if_there_is_no_release() {
    for reference in ["main", "v1.2.4"] {
        let runner = Runner::new();
        let output = runner.install(reference);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("compiled"), "{reference}: {output:?}");
    }
}

#[test]
fn the_action_refuses_a_binary_with_a_wrong_checksum() {
    let runner = Runner::new();
    let release = runner.folder.path().join("me/deployer/releases/download/v1.2.3");
    std::fs::write(release.join(Runner::archive()), "other bytes").unwrap();
    let output = runner.install("v1.2.3");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the checksum of"), "{output:?}");
}

#[test]
fn the_release_workflow_creates_the_archives_that_the_action_downloads() {
    let workflow = package_file(".github/workflows/release.yml");
    yaml(".github/workflows/ci.yml");
    let targets = yaml(".github/workflows/release.yml")["jobs"]["binary"]["strategy"]["matrix"]["include"].clone();
    let targets: Vec<String> =
        targets.as_array().unwrap().iter().map(|entry| entry["target"].as_str().unwrap().to_owned()).collect();
    assert_eq!(targets, ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]);
    assert!(workflow.contains("\"deployer-$TARGET.tar.gz\"") && workflow.contains(">SHA256SUMS"));
    assert!(package_file("action.yml").contains("archive=deployer-$(uname -m)-unknown-linux-musl.tar.gz"));
    // The profile of the release exists.
    let manifest: toml::Table = package_file("Cargo.toml").parse().unwrap();
    assert!(workflow.contains("--profile dist") && manifest["profile"].get("dist").is_some());
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
fn all_packaged_files_exist() {
    let manifest: toml::Table = package_file("Cargo.toml").parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    for asset in assets {
        let from = asset[0].as_str().unwrap();
        if !from.starts_with("target/") {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
            let exists = if from.contains('*') { folder.parent().unwrap().is_dir() } else { folder.is_file() };
            assert!(exists, "{from}");
        }
    }
    // The systemd unit finds the program in any installation path.
    let unit = package_file("examples/proxy/deployer-proxy.service");
    assert!(unit.contains("\nExecStart=deployer proxy run\n"), "{unit}");
}

#[test]
fn the_dockerfile_builds_with_the_rust_version_of_the_package() {
    let manifest: toml::Table = package_file("Cargo.toml").parse().unwrap();
    let rust = manifest["package"]["rust-version"].as_str().unwrap();
    assert!(package_file("examples/container/Dockerfile").contains(&format!("\nARG RUST_IMAGE=rust:{rust}-")));
    // The build output is not sent to the engine.
    assert!(package_file(".dockerignore").lines().any(|line| line == "target"));
}
