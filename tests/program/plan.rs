//! Plans on the local engine. A plan lists exactly the changes of the run after it, and changes nothing itself.

use crate::support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::apps;
use support::deployer::Deployer;
use support::plans::{intended_changes, plan_json};
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
fn a_plan_lists_the_changes_of_the_run() {
    let deployer = Deployer::local();
    let ports = (free_port(), free_port());
    for version in ["v1", "v2"] {
        let folder = apps::local_manual(version, "");
        let config = config(&deployer, version, &folder.path().display().to_string(), ports);
        let plan = plan_json(&deployer, "bluegreen.rhai", &["--config", &config], 10);
        assert_eq!(plan["missing_secrets"], Value::Array(Vec::new()));
        deployer.run("bluegreen.rhai", &["--config", &config]).ok();
        assert_eq!(support::plans::planned_changes(&plan), intended_changes(&deployer), "{version}");
    }
    let script = deployer.file(
        "sweep.rhai",
        "for container in docker_list(#{all: true}) { docker_remove(#{container: container.name, force: true, disposable: true}); }",
    );
    deployer.run(&script, &[]).ok();
}

#[test]
fn a_plan_without_changes_exits_with_0_and_a_missing_secret_or_program_with_2() {
    let deployer = Deployer::local();
    let query = deployer.file("query.rhai", "docker_list(#{ all: true });\n");
    plan_json(&deployer, &query, &[], 0);
    let secret = deployer.file("secret.rhai", "exec([\"true\"], #{ environment: #{ A: secret(\"NOT_SET\") } });\n");
    let plan = plan_json(&deployer, &secret, &[], 2);
    assert_eq!(plan["missing_secrets"], serde_json::json!(["NOT_SET"]));
    let tool = deployer.file("tool.rhai", "exec([\"no-such-program\"]);\n");
    let plan = plan_json(&deployer, &tool, &[], 2);
    assert_eq!(plan["missing_programs"], serde_json::json!(["no-such-program"]));
}

/// Starts a server that responds to every request with 204, and counts the requests.
fn counting_server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                counter.fetch_add(1, Ordering::SeqCst);
                drop(stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"));
            }
        }
    });
    (port, count)
}

#[test]
fn a_plan_reports_load_without_sending_it() {
    let deployer = Deployer::local();
    let (port, count) = counting_server();
    let url = format!("http://127.0.0.1:{port}/");
    let script = |method: &str| {
        format!(
            "let result = load_test(#{{url: \"{url}\", method: \"{method}\", rate: 200.0, duration: \"30s\"}});\n\
             if result.failed > 0 && \"{method}\" == \"GET\" {{ fail(`${{result}}`); }}\nresult.statuses"
        )
    };
    let reads = deployer.file("reads.rhai", &script("GET"));
    let plan = plan_json(&deployer, &reads, &[], 0);
    assert_eq!(plan["load"], json!({ url.as_str(): 6_000 }));
    assert_eq!(plan["value"], json!({"2xx": 6_000}), "the plan assumes the response of its one request");
    assert_eq!(count.load(Ordering::SeqCst), 1, "the plan sends a single request");
    deployer.call(&["plan", &reads, "--engine", "local"]).says(&format!("load: 6000 requests would be sent to {url}"));
    let sent = count.load(Ordering::SeqCst);
    let writes = deployer.file("writes.rhai", &script("POST"));
    assert_eq!(plan_json(&deployer, &writes, &[], 10)["load"], json!({ url.as_str(): 6_000 }));
    assert_eq!(count.load(Ordering::SeqCst), sent, "requests that may change something are not sent");
}

#[test]
fn an_answer_counts_for_the_plan_of_the_host_as_it_is_then() {
    let deployer = Deployer::local();
    let script = deployer.file(
        "remove_all.rhai",
        "for v in volume_list() { volume_remove(v.name, #{ disposable: true }); } volume_create(\"done\");\n",
    );
    let mut command = deployer.command(&["run", &script, "--plan-first", "--engine", "local"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let mut until_asked = || {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"[y/N] ") && errors.read(&mut byte).unwrap() > 0 {
            text.extend(byte);
        }
        String::from_utf8(text).unwrap()
    };
    let plan = until_asked();
    assert!(plan.contains("volume_create done") && !plan.contains("precious"), "{plan}");
    let other = deployer.file("other.rhai", "volume_create(\"precious\");\n");
    deployer.run(&other, &[]).ok();
    input.write_all(b"y\n").unwrap();
    let plan = until_asked();
    assert!(plan.contains("the host has changed since") && plan.contains("volume_remove precious"), "{plan}");
    input.write_all(b"n\n").unwrap();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(10));
    let list = deployer.file("list.rhai", "for v in volume_list() { log(v.name); }\n");
    deployer.run(&list, &[]).ok().says("precious");
}
