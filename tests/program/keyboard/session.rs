//! Helpers for the tests of shell sessions: a local engine with an app, and inputs from a pipe.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use crate::support::deployer::{Deployer, Finished};

/// Inputs that build an image and run it.
pub const RUN: &str = "docker_build(#{context: \"app\", tag: \"hello:v1\"}).tags\nlet web = docker_run(#{\n    name: \"web\", image: \"hello:v1\",\n});\n";

/// Creates a local engine whose home has the folder `app`, with a service that sleeps.
pub fn engine() -> Deployer {
    let deployer = Deployer::local();
    folder(&deployer, "app", r#"CMD ["/bin/sleep", "600"]"#);
    deployer
}

/// Creates a folder with a Dockerfile.
pub fn folder(deployer: &Deployer, name: &str, command: &str) {
    std::fs::create_dir(deployer.home().join(name)).unwrap();
    std::fs::write(deployer.home().join(name).join("Dockerfile"), format!("FROM scratch\n{command}\n")).unwrap();
}

/// Runs `deployer repl --engine local ARGS` with these inputs on standard input.
pub fn piped(deployer: &Deployer, args: &[&str], inputs: &str) -> Finished {
    let mut all = vec!["repl", "--engine", "local"];
    all.extend(args);
    run_with_input(deployer, &all, inputs)
}

/// Runs `deployer resume last` with these inputs on standard input.
pub fn resumed(deployer: &Deployer, inputs: &str) -> Finished {
    run_with_input(deployer, &["resume", "last", "--engine", "local"], inputs)
}

fn run_with_input(deployer: &Deployer, args: &[&str], inputs: &str) -> Finished {
    let mut child = deployer.command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let inputs = inputs.to_owned();
    let writer = thread::spawn(move || {
        // Fails if the session has already ended.
        let _ = stdin.write_all(inputs.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
