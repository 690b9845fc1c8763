//! Secret values in every input of the Docker engine, told back by containers, a registry and compose: none may be seen
//! in any output, in the journal, or in what `docker inspect` tells of labels.

mod support;

use support::deployer::Deployer;
use support::docker::Docker;
use support::planted::Planted;
use support::webhook_receiver::{Answer, Received, WebhookReceiver};

const USED: [&str; 4] = ["SERVICE", "INSIDE", "COMPOSE", "REGISTRY"];

/// A registry that asks for a password, and then tells whoever gave one what it was.
fn registry(request: &Received) -> Answer {
    match request.headers.get("authorization") {
        None => Answer::new(401, "{}").header("www-authenticate", "Basic realm=\"planted\""),
        Some(told) => {
            let message = format!("not with {told}");
            let errors = serde_json::json!({"errors": [{"code": "DENIED", "message": message}]});
            Answer::new(403, errors.to_string()).header("content-type", "application/json")
        }
    }
}

/// A script that tells of every success and of every failure in all the ways that it has.
fn attempt(call: &str) -> String {
    format!(
        "try {{ let r = {call}; log(r); print(r); }} catch (e) {{ log(e); print(e); log(`${{e.message}}`); \
         if \"detail\" in e {{ print(`${{e.detail}}`); }} }}\n"
    )
}

#[test]
fn of_containers_registries_and_compose() {
    let docker = Docker::new();
    let mut planted =
        Planted::default().plain(&["SERVICE", "INSIDE", "COMPOSE", "REGISTRY", "BUILD", "HEALTH"]).of_lines("KEY");
    let deployer = planted.give(Deployer::docker());
    deployer.run(&deployer.file("first.rhai", "log(\"first\");"), &[]).ok();
    // Keeps the journal's log on the disk, so that it is searched too.
    let held = rusqlite::Connection::open(deployer.state().join("journal.db")).unwrap();
    held.query_row("SELECT count(*) FROM runs", [], |_| Ok(())).unwrap();

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

    let script = deployer.file("planted.rhai", &body);
    planted.saw_finished("json", &deployer.run(&script, &["--format", "json", "--verbose"]).code(1));
    let mut command = deployer.command(&["run", &script, "--engine", "docker", "--format", "pretty"]);
    let traced = command.env("DEPLOYER_LOG", "trace").output().unwrap();
    planted.saw("traced: stdout", traced.stdout);
    planted.saw("traced: stderr", traced.stderr);
    planted.saw_state(&deployer);
    for name in docker.containers(true) {
        let labels = docker.inspect(&docker.name(&name))["Config"]["Labels"].to_string();
        planted.saw(&format!("labels of {name}"), labels);
    }
    planted.assert_hidden(&USED);
    let given = registry.received().iter().any(|request| request.headers.contains_key("authorization"));
    assert!(given, "the registry was given the password");
}
