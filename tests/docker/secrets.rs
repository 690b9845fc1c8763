//! Secret values in every input of the Docker engine, which containers, a registry and compose send back. None may appear
//! in any output, in the journal, or in the labels of containers.

use crate::support;

use support::deployer::Deployer;
use support::docker::Docker;
use support::leak_detector::LeakDetector;
use support::webhook_receiver::{Received, WebhookReceiver, WebhookReply};

const USED: [&str; 4] = ["SERVICE", "INSIDE", "COMPOSE", "REGISTRY"];

/// A registry that requires a password, and sends it back in an error.
fn registry(request: &Received) -> WebhookReply {
    match request.headers.get("authorization") {
        None => WebhookReply::new(401, "{}").header("www-authenticate", "Basic realm=\"planted\""),
        Some(credentials) => {
            let message = format!("not with {credentials}");
            let errors = serde_json::json!({"errors": [{"code": "DENIED", "message": message}]});
            WebhookReply::new(403, errors.to_string()).header("content-type", "application/json")
        }
    }
}

/// Returns script code that prints the result or the error of a call in every possible way.
fn attempt(call: &str) -> String {
    format!(
        "try {{ let r = {call}; log(r); print(r); }} catch (e) {{ log(e); print(e); log(`${{e.message}}`); \
         if \"detail\" in e {{ print(`${{e.detail}}`); }} }}\n"
    )
}

#[test]
fn secrets_of_containers_registries_and_compose_are_redacted() {
    let docker = Docker::new();
    let mut detector = LeakDetector::default()
        .plain(&["SERVICE", "INSIDE", "COMPOSE", "REGISTRY", "BUILD", "HEALTH"])
        .multiline("KEY");
    let deployer = detector.give_to(Deployer::docker());
    deployer.run(&deployer.file("first.rhai", "log(\"first\");"), &[]).ok();
    // An open connection keeps the write-ahead log on disk, so that it is searched too.
    let connection = rusqlite::Connection::open(deployer.state().join("journal.db")).unwrap();
    connection.query_row("SELECT count(*) FROM runs", [], |_| Ok(())).unwrap();

    let registry = WebhookReceiver::answering(registry);
    let (web, image) = (docker.name("web"), format!("{}/{}:v1", registry.address, docker.name("image")));
    let app = deployer.home().join("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(
        app.join("Dockerfile"),
        "FROM python:3.11-slim\nARG TOKEN\nRUN echo \"built with $TOKEN\" && false\n",
    )
    .unwrap();
    let compose = format!(
        "version: '3.7'\nservices:\n  one:\n    image: python:3.11-slim\n    container_name: {}\n    environment:\n      \
         V: '${{V}}'\n    command: ['sh', '-c', 'echo \"$$V\"; sleep 600']\n    init: true\n    stop_grace_period: 1s\n",
        docker.name("composed")
    );
    let file = deployer.file("compose.yml", &compose);
    let project = docker.name("project");
    let environment = r#"environment: #{V: secret("COMPOSE")}"#;

    let mut body = format!(
        r#"docker_run(#{{name: "{web}", image: "python:3.11-slim", init: true,
            environment: #{{V: secret("SERVICE"), K: secret("KEY")}},
            command: ["sh", "-c", "echo \"told: $V\"; echo \"$K\" >&2; sleep 600"]}});
        let n = 0;
        while n < 100 && !docker_logs("{web}").contains("told") {{ sleep("100ms"); n += 1; }}
        print(docker_logs("{web}")); log(docker_logs("{web}")); log(docker_inspect("{web}"));
        "#
    );
    for code in [0, 3] {
        body += &attempt(&format!(
            r#"docker_exec("{web}", ["sh", "-c", "echo \"$0 $X\"; env; exit {code}", secret("INSIDE")], #{{environment: #{{X: secret("INSIDE")}}}})"#
        ));
    }
    body += &attempt(&format!(
        r#"docker_build(#{{context: "{}", tag: "{}:v1", args: #{{TOKEN: secret("BUILD")}}}})"#,
        app.display(),
        docker.name("built")
    ));
    body += &attempt(&format!(r#"docker_pull("{image}", #{{username: "me", password: secret("REGISTRY")}})"#));
    body += &format!("docker_tag(\"python:3.11-slim\", \"{image}\");\n");
    body += &attempt(&format!(r#"docker_push("{image}", #{{username: "me", password: secret("REGISTRY")}})"#));
    body += &format!("docker_image_remove(\"{image}\");\n");
    body += &attempt(&format!(r#"compose_config("{file}", #{{project: "{project}", {environment}}})"#));
    body += &attempt(&format!(r#"compose_up("{file}", #{{project: "{project}", {environment}}})"#));
    body += &format!(
        "try {{ sleep(\"500ms\"); print(docker_logs(\"{}\")); }} catch (e) {{ log(e); }}\n",
        docker.name("composed")
    );
    body += &attempt(&format!(
        r#"health_wait("{web}", #{{port: 5000, headers: #{{"X-Token": secret("SERVICE")}}, timeout: "2s", interval: "500ms"}})"#
    ));
    body += "let v = exec([\"cat\"], #{stdin: secret(\"HEALTH\")}).stdout; fail(v, v);";

    let script = deployer.file("secrets.rhai", &body);
    detector.record_output("json", &deployer.run(&script, &["--format", "json", "--verbose"]).code(1));
    let mut command = deployer.command(&["run", &script, "--engine", "docker", "--format", "pretty"]);
    let traced = command.env("DEPLOYER_LOG", "trace").output().unwrap();
    detector.record("traced: stdout", traced.stdout);
    detector.record("traced: stderr", traced.stderr);
    detector.record_state(&deployer);
    for name in docker.containers(true) {
        let labels = docker.inspect(&docker.name(&name))["Config"]["Labels"].to_string();
        detector.record(&format!("labels of {name}"), labels);
    }
    detector.assert_hidden(&USED);
    let has_password = registry.received().iter().any(|request| request.headers.contains_key("authorization"));
    assert!(has_password, "the registry received the password");
}
