//! Inputs that are invalid before anything runs: the complete message, the exit code, and no change.

use crate::support;

use insta::assert_snapshot;
use support::deployer::{Deployer, Finished};
use support::snapshot::normalize;

/// Returns the output without the parts that differ between runs.
fn message(deployer: &Deployer, finished: &Finished) -> String {
    normalize(&finished.said(), &[(deployer.home().to_str().unwrap(), "HOME")])
}

#[track_caller]
fn refused(script: &str, args: &[&str]) -> String {
    let deployer = Deployer::local();
    let path = deployer.file("deploy.rhai", script);
    let finished = deployer.run(&path, args).code(2);
    assert_eq!(finished.stdout, "", "stdout is for data, and there is none");
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
    assert_snapshot!(refused("let image = \"web:v2\"\ndocker_stop(\"web\");\n", &[]), @r#"
    deployer::script::syntax

      × expecting ';' to terminate this statement
       ╭─[[HOME]/deploy.rhai:2:1]
     1 │ let image = "web:v2"
     2 │ docker_stop("web");
       · ─────┬─────
       ·      ╰── here
       ╰────
    "#);
}

#[test]
fn an_unknown_function() {
    assert_snapshot!(refused("docker_stopp(\"web\");\n", &[]), @r#"
    deployer::script::unknown_function

      × there is no function `docker_stopp`
       ╭─[[HOME]/deploy.rhai:1:1]
     1 │ docker_stopp("web");
       · ──────┬─────
       ·       ╰── unknown function
       ╰────
      help: did you mean `docker_stop`?
    "#);
}

#[test]
fn a_typo_on_a_path_that_this_run_would_not_take() {
    let script =
        "let started = exec([\"touch\", \"started\"]);\nif started.code != 0 {\n    docker_strat(\"web\");\n}\n";
    assert_snapshot!(refused(script, &[]), @r#"
    deployer::script::unknown_function

      × there is no function `docker_strat`
       ╭─[[HOME]/deploy.rhai:3:5]
     2 │ if started.code != 0 {
     3 │     docker_strat("web");
       ·     ──────┬─────
       ·           ╰── unknown function
     4 │ }
       ╰────
      help: did you mean `docker_start`?
    "#);
}

#[test]
fn an_unknown_option() {
    assert_snapshot!(refused("docker_run(#{ name: \"web\", imge: \"web:v2\" });\n", &[]), @r#"
    deployer::script::unknown_option

      × `docker_run` has no option `imge`
       ╭─[[HOME]/deploy.rhai:1:28]
     1 │ docker_run(#{ name: "web", imge: "web:v2" });
       ·                            ──┬─
       ·                              ╰── not an option
       ╰────
      help: did you mean `image`?
    "#);
}

#[test]
fn an_option_of_the_wrong_type() {
    assert_snapshot!(refused("docker_run(#{ name: \"web\", image: \"web:v2\", ports: 8080 });\n", &[]), @r#"
    run   RUN [HOME]/deploy.rhai on local [HOME]/state/local
    undo  rolling back: `docker_run`: `ports`: invalid type: integer `8080`, expected a sequence
    deployer::script::invalid

      × `docker_run`: `ports`: invalid type: integer `8080`, expected a sequence
       ╭─[[HOME]/deploy.rhai:1:1]
     1 │ docker_run(#{ name: "web", image: "web:v2", ports: 8080 });
       · ─────┬────
       ·      ╰── here
       ╰────
    end   not run: nothing was touched
          run: RUN
          details: deployer show RUN
    "#);
}

#[test]
fn an_unknown_parameter() {
    assert_snapshot!(refused_config("service = \"web\"\nimmage = \"web:v2\"\n"), @r#"
    deployer::config::parameter

      × parameter `immage` is not a parameter of this script
       ╭─[[HOME]/deploy.toml:2:1]
     1 │ service = "web"
     2 │ immage = "web:v2"
       · ───┬──
       ·    ╰── given here
       ╰────
      help: did you mean `image`?
    "#);
}

#[test]
fn a_missing_parameter() {
    assert_snapshot!(refused_config("image = \"web:v2\"\n"), @r#"
    deployer::config::parameter

      × parameter `service` is missing: name of the service and its container
      help: set it with `--set service=...` or in the `--config` file
    "#);
}

#[test]
fn a_parameter_of_the_wrong_type() {
    assert_snapshot!(refused_config("service = \"web\"\nimage = \"web:v2\"\nport = \"eighty\"\n"), @r#"
    deployer::config::parameter

      × parameter `port` must be an int, not the string `eighty`
       ╭─[[HOME]/deploy.toml:3:1]
     2 │ image = "web:v2"
     3 │ port = "eighty"
       · ──┬─
       ·   ╰── given here
       ╰────
      help: public port
    "#);
}

#[test]
fn a_configuration_that_is_not_toml() {
    assert_snapshot!(refused_config("service = web\n"), @r#"
    deployer::config::syntax

      × `[HOME]/deploy.toml` is not valid TOML: string values must be quoted, expected literal string
       ╭─[[HOME]/deploy.toml:1:11]
     1 │ service = web
       ·           ─┬─
       ·            ╰── here
       ╰────
    "#);
}

#[test]
fn a_script_that_does_not_exist() {
    let deployer = Deployer::local();
    let finished = deployer.run("bluegren.rhai", &[]).code(2);
    assert_snapshot!(message(&deployer, &finished), @r#"
    deployer::script::not_found

      × there is no script `bluegren.rhai`
      help: did you mean `bluegreen.rhai`?
    "#);
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
    assert_snapshot!(message(&deployer, &finished), @r#"
    deployer::journal::newer

      × the journal `[HOME]/state/journal.db` was written by a newer deployer (journal version 99, this one knows 2)
      help: install the newer deployer, or use another folder with `--state DIR`
    "#);
}

#[test]
fn a_daemon_that_does_not_answer() {
    let deployer = Deployer::docker();
    let script = deployer.file("deploy.rhai", "volume_create(\"data\");\n");
    let missing_socket = format!("unix://{}/docker.sock", deployer.home().display());
    let finished = deployer.run(&script, &["--docker-host", &missing_socket]).code(2);
    assert_snapshot!(message(&deployer, &finished), @r#"
    deployer::effect

      × no docker engine answers at `unix://[HOME]/docker.sock` (chosen by `--docker-host`): the socket does not exist
      help: start Docker: sudo systemctl start docker, or use `--engine local`
    "#);
}
