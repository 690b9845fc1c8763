//! What the tests of sessions share: a local engine with an app to run, and inputs from a pipe.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use crate::support::deployer::{Deployer, Finished};

/// Builds an image and runs it.
pub const RUN: &str = "docker_build(#{context: \"app\", tag: \"hello:v1\"}).tags\nlet web = docker_run(#{\n    name: \"web\", image: \"hello:v1\",\n});\n";

/// A local engine with the folder `app` in the home: a service that sleeps.
pub fn engine() -> Deployer {
    let deployer = Deployer::local();
    folder(&deployer, "app", r#"CMD ["/bin/sleep", "600"]"#);
    deployer
}

/// A folder with a Dockerfile.
pub fn folder(deployer: &Deployer, name: &str, command: &str) {
    std::fs::create_dir(deployer.home().join(name)).unwrap();
    std::fs::write(deployer.home().join(name).join("Dockerfile"), format!("FROM scratch\n{command}\n")).unwrap();
}

/// `deployer repl --engine local ARGS` with these inputs on its standard input.
pub fn piped(deployer: &Deployer, args: &[&str], inputs: &str) -> Finished {
    let mut all = vec!["repl", "--engine", "local"];
    all.extend(args);
    fed(deployer, &all, inputs)
}

/// `deployer resume last` with these inputs.
pub fn resumed(deployer: &Deployer, inputs: &str) -> Finished {
    fed(deployer, &["resume", "last", "--engine", "local"], inputs)
}

fn fed(deployer: &Deployer, args: &[&str], inputs: &str) -> Finished {
    let mut child = deployer.command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let inputs = inputs.to_owned();
    let writer = thread::spawn(move || {
        // A session that has ended reads no more.
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
