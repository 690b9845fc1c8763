//! The exit codes, and the messages that come with them.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::service::Service;
use crate::support::deployer::Deployer;

#[test]
fn parameters_on_the_command_line_are_checked_by_name_and_type() {
    let deployer = Deployer::local();
    let script = deployer.file(
        "typed.rhai",
        r#"let p = params(#{ count: optional("int", 1, "how many"), wait: optional("duration", "5s", "how long"),
            words: optional("list", [], "words"), flag: optional("bool", false, "yes or no"),
            deep: #{ er: #{ key: optional("string", (), "a key") } }, env: optional("map", #{}, "free") });
        print(`${p.count + 1} ${p.wait} ${p.words} ${!p.flag} ${p.deep.er.key} ${p.env}`);"#,
    );
    let sets = ["count=41", "wait=2m", r#"words=["a", "b"]"#, "flag=true", "deep.er.key=a=b", "env.PORT=80", "env.A=x"];
    let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let done = deployer.run(&script, &args).ok();
    assert_eq!(done.stdout, "42 2m [\"a\", \"b\"] false a=b #{\"A\": \"x\", \"PORT\": 80}\n");

    for (set, message) in [
        ("count=many", "parameter `count` must be an int, not `many`"),
        ("cuont=1", "did you mean `count`?"),
        ("deep.er.kye=1", "did you mean `deep.er.key`?"),
        ("deep=1", "set `deep.NAME`"),
        ("count.x=1", "`count` is of type int and has no keys"),
        ("wait=soon", "parameter `wait`"),
        ("count", "write it as `--set KEY=VALUE`"),
        ("=1", "has no key"),
    ] {
        let refused = deployer.run(&script, &["--set", set]).code(2);
        refused.says(message);
    }
    assert!(deployer.call(&["runs"]).ok().stdout.lines().count() == 2, "a refused call is not recorded as a run");
}

#[test]
fn usage_errors_say_what_to_type() {
    let deployer = Deployer::local();
    deployer.run("blugreen.rhai", &[]).code(2).says("did you mean `bluegreen.rhai`?");
    deployer.run(".", &[]).code(2).says("`.` is a folder, not a script");
    deployer.call(&["run"]).code(2).says("no script given: `deployer run SCRIPT`");
    deployer.call(&["depoly"]).code(2).says("'deploy'");
    deployer.call(&["rnu"]).code(2).says("unrecognized subcommand 'rnu'").says("'runs'");
    deployer.call(&[]).code(2).says("Usage: deployer").says("Run a script").says("Repair:");
    deployer.call(&["run", "bluegreen.rhai", "--enigne", "local"]).code(2).says("'--engine'");
    deployer.call(&["runs", "--formt", "json"]).code(2).says("'--format'");
    deployer.call(&["demo", "--engine", "podman"]).code(2).says("possible values: docker, local");
    deployer.call(&["show", "last", "more"]).code(2).says("'more'");
    deployer.call(&["runs", "--limit", "-1"]).code(2).says("'-1'");
    deployer.call(&["--version"]).ok().says("deployer 0.");
    deployer.call(&["--help"]).ok().says("130  cancelled; rolled back, except what came before `commit()`");
    deployer.run("bluegreen.rhai", &["--timeout", "5"]).code(2).says("write it like `250ms`");
    deployer
        .run(&deployer.file("one.rhai", ""), &["--docker-host", "tcp://x:1"])
        .code(2)
        .says("no meaning with `--engine local`");
    deployer.call(&["show", "last"]).code(2).says("no runs yet");
    deployer.call(&["abort"]).code(2).says("no runs yet");
    let empty = deployer.call(&["runs", "--state", "nowhere"]).ok();
    assert!(empty.stderr.contains("no runs yet"), "{}", empty.stderr);
    assert!(!deployer.home().join("nowhere").exists(), "a query creates no folder");
}

#[test]
fn an_unreachable_engine_suggests_the_local_one() {
    let deployer = Deployer::docker();
    let script = deployer.file("empty.rhai", "");
    for host in ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"] {
        let deployer = Deployer::docker().env("DOCKER_HOST", host);
        deployer.call(&["run", &script]).code(2).says("use `--engine local`").says("`DOCKER_HOST`");
        deployer.call(&["run", &script, "--engine", "local"]).ok();
    }
    for host in ["tcp://", "unix://", "ftp://x", "tcp://127.0.0.1:99999", " ", ""] {
        deployer.run(&script, &["--docker-host", host]).code(2).says("is not a valid docker engine address");
    }
}

#[test]
fn a_run_that_cannot_be_rolled_back_is_stuck_and_its_commands_work() {
    let service = Service::with_v1("");
    let program = env!("CARGO_BIN_EXE_deployer");
    // Another run takes the name while this run has renamed the container.
    let other = service.deployer.file("other.rhai", "docker_create(#{name: \"web\", image: \"web:v1\"});");
    let script = service.deployer.file(
        "stuck.rhai",
        &format!(
            "docker_rename(\"web\", \"aside\");\nexec([\"{program}\", \"run\", \"{other}\", \"--engine\", \"local\"]);\nfail(\"no\");\n"
        ),
    );
    let state = service.deployer.state().to_str().unwrap().to_owned();
    let stuck =
        service.deployer.run(&script, &["--state", &state]).code(3).says("`docker_rename web -> aside` was not undone");
    let command = stuck.stderr.lines().map(str::trim).find(|line| line.starts_with("echo 'docker_rename(")).unwrap();
    assert!(command.contains(&format!("--state {state}")), "the command uses the same state folder: {command}");

    let remove = service.deployer.file("remove.rhai", "docker_remove(\"web\", #{force: true, disposable: true});");
    service.deployer.run(&remove, &[]).ok();
    let folder = std::path::Path::new(program).parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-c", command]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    service.serves_alone("v1");

    let id = run_id(&stuck.stderr);
    service.deployer.call(&["abort", &id]).code(2).says(&format!("`deployer show {id}`"));
}

#[test]
fn a_change_that_no_effect_can_undo_is_reported() {
    let service = Service::with_v1("");
    let script = service.deployer.file("gone.rhai", "docker_remove(\"web\", #{force: true});\nfail(\"no\");\n");
    service.deployer.run(&script, &[]).code(3).says("to do by hand:").says("container `web` was removed");
}

#[test]
fn a_closure_that_fails_leaves_the_run_stuck() {
    let deployer = Deployer::local();
    let script = deployer
        .file("closure.rhai", "volume_create(\"v\");\non_rollback(|| fail(\"the way is blocked\"));\nfail(\"no\");");
    let stuck = deployer.run(&script, &[]).code(3).says("the way is blocked");
    let report = stuck.says("closure.rhai:2:1").says("`volume_create v` was not undone");
    assert!(report.said().contains("volume_remove(#{name: \"v\""), "{}", report.said());
}

#[test]
fn a_service_has_one_run_at_a_time() {
    let service = Service::with_v1("");
    let config = service.config("v2", "");
    // The bake is long, so that the first run still holds the lock when the second one starts.
    let mut first = service.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
    first.until_intended("sleep");
    let second = service.deploy("v3", "").code(4);
    assert!(second.said().contains(&first.id()), "the message names the run that holds the lock: {}", second.said());
    assert!(second.said().contains("since"), "the message says since when: {}", second.said());
    first.signal(Signal::SIGTERM);
    first.wait().code(130);
    service.serves_alone("v1");
    service.deploy("v3", "").ok();
    service.serves_alone("v3");
}

#[test]
fn a_killed_run_blocks_its_service_until_it_is_aborted() {
    let service = Service::with_v1("");
    let config = service.config("v2", "");
    let mut run = service.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
    run.until_intended("sleep");
    let id = run.id();
    run.kill();

    let before = (service.version(), service.containers());
    let refused = service.deploy("v3", "").code(5);
    let refused = refused.says(&format!("deployer abort {id}")).says(&format!("deployer show {id}"));
    assert!(refused.said().contains("this command changed nothing"), "{}", refused.said());
    assert_eq!((service.version(), service.containers()), before, "the refused run changes nothing");
    let runs = service.deployer.call(&["runs", "--format", "json"]).ok();
    let killed = runs.stdout.lines().find(|line| line.contains(&id)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(killed).unwrap()["status"], "killed");
    service.deployer.call(&["show", &id]).ok().says("no end is recorded");

    service.deployer.call(&["abort", &id]).ok();
    service.serves_alone("v1");
    service.deployer.call(&["abort", &id]).code(2).says("has ended: aborted");
    service.deploy("v3", "").ok();
    service.serves_alone("v3");
}

#[test]
fn a_running_run_cannot_be_aborted() {
    let deployer = Deployer::local();
    let script = deployer.file("wait.rhai", "sleep(\"60s\");");
    let mut run = deployer.watch_run(&script, &[]);
    run.until_intended("sleep");
    deployer.call(&["abort"]).code(4).says("may still be running").says("stop process");
    run.signal(Signal::SIGINT);
    run.wait().code(130);
}

#[test]
fn check_accepts_the_shipped_scripts() {
    let deployer = Deployer::local();
    for script in ["bluegreen.rhai", "bluegreen", "safe_deploy.rhai", "rollback.rhai"] {
        deployer.call(&["check", script]).ok().says("no errors");
    }
}

/// Returns the run id from the last `run:` line of the output.
fn run_id(output: &str) -> String {
    let line = output.lines().rev().find_map(|line| line.trim().strip_prefix("run: "));
    line.unwrap_or_else(|| panic!("no run id in {output}")).to_owned()
}
