//! A secret that is used everywhere is written nowhere.

use std::fs;
use std::path::Path;

use crate::service::Service;
use crate::support::deployer::Deployer;
use crate::support::webhook_receiver::WebhookReceiver;

const SECRET: &str = "hunter2-Zm9vYmFyCg";

/// Files below a folder that hold `text`.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_is_handed_over_and_written_nowhere() {
    let receiver = WebhookReceiver::start();
    let service = Service::of(Deployer::local().env("API_TOKEN", SECRET));
    let url = format!("http://{}", receiver.address);
    let script = service.deployer.file(
        "secret.rhai",
        &format!(
            r#"
let token = secret("API_TOKEN");
docker_build(#{{ context: "{app}", tag: "web:v1", args: #{{ VERSION: "v1" }} }});
docker_run(#{{ name: "web", image: "web:v1", ports: ["{port}:5000"], environment: #{{ TOKEN: token }} }});
health_wait("web", #{{ path: "/", port: 5000 }});
http_get("{url}/get", #{{ headers: #{{ Authorization: "Bearer " + token }} }});
http_post("{url}/post?key=" + token, #{{ body: token }});
let said = exec(["sh", "-c", "echo \"$T\"; echo \"$T\" >&2"], #{{ environment: #{{ T: token }} }});
print(said.stdout + said.stderr);
let inside = docker_exec("web", ["sh", "-c", "echo $TOKEN"]);
print(inside.stdout);
print(docker_logs("web"));
print(token); log(token); log(`${{token}}`); print("a" + token + "z");
notify(#{{ channel: "webhook", url: "{url}/hook/" + token, event: "succeeded" }});
notify(#{{ channel: "webhook", url: "http://127.0.0.1:1/" + token, event: "succeeded" }});
try {{ exec(["sh", "-c", "echo $0; exit 3", token]); }} catch (error) {{ print(error); }}
try {{ http_get("http://127.0.0.1:1/" + token); }} catch (error) {{ print(error); }}
print(#{{ deep: [token] }});
exec(["sh", "-c", "echo $0 >&2; exit 3", token]);
"#,
            app = service.app().display(),
            port = service.port,
        ),
    );
    let mut said = String::new();
    for format in ["plain", "pretty", "json"] {
        said += &service.deployer.run(&script, &["--format", format]).code(1).said();
        said += &service.deployer.call(&["show", "last", "--format", format, "--verbose"]).ok().said();
        said += &service.deployer.call(&["runs", "--format", format]).ok().said();
    }
    let told: Vec<&str> = said.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(told.is_empty(), "it was said: {told:?}");
    assert!(said.contains("<secret API_TOKEN>"), "{said}");

    let received = receiver.received();
    assert!(received.iter().any(|got| got.headers.get("authorization") == Some(&format!("Bearer {SECRET}"))));
    assert!(received.iter().any(|got| got.body == SECRET), "it arrived where it was sent");
    let found = holding(service.deployer.state(), SECRET);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_a_program_writes_into_its_own_log_is_told_without_the_secret() {
    let service = Service::of(Deployer::local().env("API_TOKEN", SECRET));
    let script = service.deployer.file(
        "logs.rhai",
        &format!(
            r#"docker_build(#{{ context: "{app}", tag: "web:v1", args: #{{ VERSION: "v1" }} }});
docker_run(#{{ name: "web", image: "web:v1", environment: #{{ TOKEN: secret("API_TOKEN"), STATUS: "500" }} }});
health_wait("web", #{{ path: "/", port: 5000, timeout: "1s" }});"#,
            app = service.app().display()
        ),
    );
    let failed = service.deployer.run(&script, &["--format", "json"]).code(1);
    assert!(failed.stdout.contains("token <secret API_TOKEN>"), "{}", failed.stdout);
    assert!(!failed.said().contains(SECRET), "{}", failed.said());
}

#[test]
fn secrets_that_parameters_name_are_handed_over_and_written_nowhere() {
    const OTHER: &str = "correct-horse-battery-9";
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("other");
    fs::write(&file, format!("{OTHER}\n")).unwrap();
    let deployer = Deployer::local().env("API_TOKEN", SECRET).env("OTHER_FILE", file.to_str().unwrap());
    let service = Service::of(deployer);
    let mut said = String::new();
    for (version, more, patience, code) in [("v1", "", "60s", 0), ("v2", "STATUS = \"500\"\n", "1s", 1)] {
        let patience = format!("health.timeout={patience}");
        let config = service.config(version, &format!("{more}[secrets]\nTOKEN = \"API_TOKEN\""));
        for format in ["plain", "json"] {
            let args = ["--config", &config, "--set", "secrets.OTHER=OTHER", "--set", &patience];
            let args = [&args[..], &["--format", format]].concat();
            said += &service.deployer.run("bluegreen.rhai", &args).code(code).said();
            said += &service.deployer.call(&["show", "last", "--format", format, "--verbose"]).ok().said();
        }
    }
    let script = service
        .deployer
        .file("see.rhai", "print(docker_exec(\"web\", [\"sh\", \"-c\", \"echo ${#TOKEN} ${#OTHER}\"]).stdout);");
    let seen = service.deployer.run(&script, &[]).ok();
    assert_eq!(seen.stdout.trim(), format!("{} {}", SECRET.len(), OTHER.len()));
    for secret in [SECRET, OTHER] {
        let told: Vec<&str> = said.lines().filter(|line| line.contains(secret)).collect();
        assert!(told.is_empty(), "it was said: {told:?}");
        let mut found = holding(service.deployer.home(), secret);
        // What the app itself writes is kept as it is, as Docker keeps it; only what is told of it is scrubbed.
        found.retain(|path| !path.ends_with("/log"));
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(said.contains("\"OTHER\":\"OTHER\"") && said.contains("API_TOKEN"), "they are told by name: {said}");
}
