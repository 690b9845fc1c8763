//! Inputs that are wrong before anything runs: the whole message, the exit code, and nothing touched.

mod support;

use insta::assert_snapshot;
use support::deployer::{Deployer, Finished};
use support::snapshot::normal;

/// What a person reads, with what differs between runs taken out.
fn message(deployer: &Deployer, finished: &Finished) -> String {
    normal(&finished.said(), &[(deployer.home().to_str().unwrap(), "HOME")])
}

#[track_caller]
fn refused(script: &str, args: &[&str]) -> String {
    let deployer = Deployer::local();
    let path = deployer.file("deploy.rhai", script);
    let finished = deployer.run(&path, args).code(2);
    assert_eq!(finished.stdout, "", "data goes to stdout, and there is none");
    message(&deployer, &finished)
}

#[track_caller]
fn refused_config(config: &str) -> String {
    let deployer = Deployer::local();
    let finished = deployer.deploy("bluegreen.rhai", config).code(2);
    message(&deployer, &finished)
}

#[test]
fn a_script_that_does_not_parse() {
    assert_snapshot!(refused("let image = \"web:v2\"\ndocker_stop(\"web\");\n", &[]), @"");
}

#[test]
fn an_unknown_function() {
    assert_snapshot!(refused("docker_stopp(\"web\");\n", &[]), @"");
}

#[test]
fn an_unknown_option() {
    assert_snapshot!(refused("docker_run(#{ name: \"web\", imge: \"web:v2\" });\n", &[]), @"");
}

#[test]
fn an_option_of_the_wrong_type() {
    assert_snapshot!(refused("docker_run(#{ name: \"web\", image: \"web:v2\", ports: 8080 });\n", &[]), @"");
}

#[test]
fn an_unknown_parameter() {
    assert_snapshot!(refused_config("service = \"web\"\nimmage = \"web:v2\"\n"), @"");
}

#[test]
fn a_missing_parameter() {
    assert_snapshot!(refused_config("image = \"web:v2\"\n"), @"");
}

#[test]
fn a_parameter_of_the_wrong_type() {
    assert_snapshot!(refused_config("service = \"web\"\nimage = \"web:v2\"\nport = \"eighty\"\n"), @"");
}

#[test]
fn a_configuration_that_is_no_toml() {
    assert_snapshot!(refused_config("service = web\n"), @"");
}

#[test]
fn a_script_that_is_not_there() {
    let deployer = Deployer::local();
    let finished = deployer.run("bluegren.rhai", &[]).code(2);
    assert_snapshot!(message(&deployer, &finished), @"");
}

#[test]
fn a_journal_of_a_newer_deployer() {
    let deployer = Deployer::local();
    std::fs::create_dir_all(deployer.state()).unwrap();
    let journal = rusqlite::Connection::open(deployer.state().join("journal.db")).unwrap();
    journal.pragma_update(None, "user_version", 99).unwrap();
    drop(journal);
    let script = deployer.file("deploy.rhai", "volume_create(\"data\");\n");
    let finished = deployer.run(&script, &[]).code(2);
    assert_snapshot!(message(&deployer, &finished), @"");
}

#[test]
fn a_daemon_that_does_not_answer() {
    let deployer = Deployer::docker();
    let script = deployer.file("deploy.rhai", "volume_create(\"data\");\n");
    let nowhere = format!("unix://{}/docker.sock", deployer.home().display());
    let finished = deployer.run(&script, &["--docker-host", &nowhere]).code(2);
    assert_snapshot!(message(&deployer, &finished), @"");
}
