//! A plan on the local engine: what it says is what the run then asks for, and nothing was touched by it.

mod support;

use serde_json::Value;
use support::apps;
use support::deployer::Deployer;
use support::planned::{asked_for, planned};
use support::ports::free_port;

fn config(deployer: &Deployer, version: &str, folder: &str, ports: (u16, u16)) -> String {
    let text = format!(
        r#"
service = "manual"
image = "manual:{version}"
build = "{folder}"
container_port = 5000
port = {}
green_port = {}
volumes = ["manual_instance:/app/instance"]
drain = "5s"
bake = "200ms"

[health]
path = "/health"
timeout = "10s"
"#,
        ports.0, ports.1
    );
    deployer.file(&format!("{version}.toml"), &text)
}

#[test]
fn a_plan_is_what_the_run_does() {
    let deployer = Deployer::local();
    let ports = (free_port(), free_port());
    for version in ["v1", "v2"] {
        let folder = apps::local_manual(version, "");
        let config = config(&deployer, version, &folder.path().display().to_string(), ports);
        let plan = planned(&deployer, "bluegreen.rhai", &["--config", &config], 10);
        assert_eq!(plan["missing_secrets"], Value::Array(Vec::new()));
        let ran = deployer.run("bluegreen.rhai", &["--config", &config]).ok();
        drop(ran);
        assert_eq!(support::planned::steps(&plan), asked_for(&deployer), "{version}");
    }
    let script = deployer.file(
        "sweep.rhai",
        "for container in docker_list(#{all: true}) { docker_remove(#{container: container.name, force: true, disposable: true}); }",
    );
    deployer.run(&script, &[]).ok();
}

#[test]
fn nothing_to_do_exits_with_0_and_a_missing_secret_with_2() {
    let deployer = Deployer::local();
    let looks = deployer.file("looks.rhai", "docker_list(#{ all: true });\n");
    planned(&deployer, &looks, &[], 0);
    let secret = deployer.file("secret.rhai", "exec([\"true\"], #{ environment: #{ A: secret(\"NOT_SET\") } });\n");
    let plan = planned(&deployer, &secret, &[], 2);
    assert_eq!(plan["missing_secrets"], serde_json::json!(["NOT_SET"]));
    let tool = deployer.file("tool.rhai", "exec([\"no-such-program\"]);\n");
    let plan = planned(&deployer, &tool, &[], 2);
    assert_eq!(plan["missing_programs"], serde_json::json!(["no-such-program"]));
}
